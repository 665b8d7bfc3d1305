"""`cancel`: end runs of a sweep, after asking."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from pathlib import Path

from crate.errors import UserError
from crate.run.console import say_on_console
from crate.run.folder import RunFolder
from crate.run.ownership import owner_of
from crate.run.records import write_json
from crate.sweep.commands.arguments import add_runs, sweep_of
from crate.sweep.commands.confirm import add_yes, confirms
from crate.sweep.define.swept import as_words
from crate.sweep.launchers.slurm_queue import SlurmQueue
from crate.sweep.select import Selection
from crate.sweep.state import ACTIVE
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.outputs import locked

HELP = "save and end runs that this sweep started"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)
    add_yes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Cancel the runs that were named; return 0."""
    return cancel(sweep_of(arguments), arguments.runs, yes=arguments.yes)


def cancel(sweep: SweepFolder, wanted: list[str], *, yes: bool) -> int:
    """End what is at work of a sweep, once that is agreed to.

    Raise UserError if Slurm refuses.
    """
    say_on_console(True)
    selection = Selection(sweep, wanted)
    active = selection.in_states(*ACTIVE)
    ours = [key for key in active if selection.is_own(key)]
    for key in active:
        if key not in ours:
            print(f"left alone, started elsewhere: {as_words(selection.swept[key])}")
    if not ours:
        print("nothing of this sweep is at work")
        return 0
    for key in ours:
        print(f"{selection.states[key].state:9} {as_words(selection.swept[key])}")
    if not yes and not confirms(f"end these {len(ours)} runs?"):
        print("nothing was ended")
        return 0
    with locked(sweep.outputs):
        sweep.repair()
        _end(Selection(sweep, wanted), ours)
    return 0


def _end(selection: Selection, keys: list[str]) -> None:
    states = selection.states
    keys = [key for key in keys if states[key].is_active and selection.is_own(key)]
    for key in keys:  # before anything is told: a slot or job that starts just now must not begin
        write_json(RunFolder(states[key].path).cancelled, {"time": time.time()})
    jobs = [job for key in keys if (job := states[key].status.job)]
    if jobs:
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True)
        if done.returncode and _work_on(jobs):  # else they had just ended
            raise UserError(f"scancel failed: {done.stderr.strip()}")
    for key in keys:
        _hurry(states[key].path)
    print(f"{len(keys)} runs end; their checkpoints stand")


def _work_on(jobs: list[str]) -> bool:
    queue = SlurmQueue(jobs)
    return any(queue.is_live(job) and queue.state(job) != "COMPLETING" for job in jobs)


def _hurry(run: Path) -> None:
    """Has a run of a local pool save and end at once; on another machine it sees that in 15 s."""
    owner = owner_of(run)
    if owner is not None and owner.job is None and owner.is_here:
        os.kill(owner.pid, signal.SIGINT)
