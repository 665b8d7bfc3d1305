"""`cancel`: ends runs of a sweep, and nothing that was not named. Asks first."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

from crate.config.errors import UserError
from crate.ownership import owner_of
from crate.runfolder import write_json
from crate.sweep.folder import SweepFolder, locked
from crate.sweep.select import Selection
from crate.sweep.state import ACTIVE, CANCELLED
from crate.sweep.table import words


def cancel(sweep: SweepFolder, wanted: list[str], *, yes: bool) -> int:
    """Ends what is at work of a sweep; 1 where something could not be ended."""
    selection = Selection(sweep, wanted)
    active = selection.in_states(*ACTIVE)
    ours = [key for key in active if selection.is_own(key)]
    for key in active:
        if key not in ours:
            print(f"left alone, started elsewhere: {words(selection.swept[key])}")
    if not ours:
        print("nothing of this sweep is at work")
        return 0
    for key in ours:
        print(f"{selection.states[key].state:9} {words(selection.swept[key])}")
    if not yes and not agrees(f"end these {len(ours)} runs?"):
        print("nothing was ended")
        return 0
    with locked(sweep.outputs):
        return _end(Selection(sweep, wanted), ours)


def _end(selection: Selection, keys: list[str]) -> int:
    states, failed = selection.states, 0
    keys = [key for key in keys if states[key].is_active]
    for key in keys:  # before anything is told: a slot or job that starts just now must not begin
        write_json(states[key].path / CANCELLED, {"time": time.time()})
    jobs = [job for key in keys if (job := (states[key].status["claim"] or {}).get("slurm"))]
    if jobs:
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"scancel failed: {done.stderr.strip()}")
    for key in keys:
        if "pool" in (states[key].status["claim"] or {}) and states[key].state != "queued":
            failed += not _interrupt(selection, key)
    print(f"{len(keys) - failed} runs ended; their checkpoints stand")
    return int(failed > 0)


def _interrupt(selection: Selection, key: str) -> bool:
    """Has a run of a local pool save and end; False where it runs on another machine."""
    path = selection.states[key].path
    owner = owner_of(path)
    if owner is None:  # it has just ended
        return True
    if owner["host"] != socket.gethostname():
        (path / CANCELLED).unlink(missing_ok=True)
        print(f"runs on {owner['host']}, cancel it there: {words(selection.swept[key])}")
        return False
    os.kill(owner["pid"], signal.SIGINT)
    return True


def agrees(question: str) -> bool:
    """Asks on the terminal; what is not a yes is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
