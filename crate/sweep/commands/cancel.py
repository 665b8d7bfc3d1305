"""`cancel`: end runs of a sweep, after asking."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from crate.run.console import say_on_console
from crate.run.folder import RunFolder
from crate.sweep.commands.arguments import add_runs, sweep_of
from crate.sweep.commands.confirm import add_yes, confirms
from crate.sweep.define.swept import as_words
from crate.sweep.launchers import launcher_named
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


def cancel(sweep: SweepFolder, words: list[str], *, yes: bool) -> int:
    """End the active runs of a sweep that `words` select, after asking; return 0.

    Runs that another sweep started are left alone. Raise UserError if a launcher refuses.
    """
    say_on_console(True)
    selection = Selection(sweep, words)
    active = selection.in_states(*ACTIVE)
    own = [key for key in active if selection.is_own(key)]
    for key in active:
        if key not in own:
            print(f"left alone, started elsewhere: {as_words(selection.swept[key])}")
    if not own:
        print("nothing of this sweep is at work")
        return 0
    for key in own:
        print(f"{selection.states[key].state:9} {as_words(selection.swept[key])}")
    if not yes and not confirms(f"end these {len(own)} runs?"):
        print("nothing was ended")
        return 0
    with locked(sweep.outputs):
        sweep.repair()
        _end(Selection(sweep, words), own)
    return 0


def _end(selection: Selection, keys: list[str]) -> None:
    """Mark runs as cancelled, and have their launchers end their jobs."""
    jobs: dict[str, dict[Path, str]] = defaultdict(dict)  # launcher -> run folder -> job
    for key in keys:
        state = selection.states[key]
        job = state.status.claim.job_id if state.status.claim else None
        if state.is_active and selection.is_own(key) and state.path and job:
            jobs[job.launcher][state.path] = job.name
    launchers = {name: launcher_named(name) for name in jobs}
    for runs in jobs.values():  # first, since a slot or job that starts just now must not begin
        for path in runs:
            RunFolder(path).cancel()
    for name, launcher in launchers.items():
        launcher.cancel(jobs[name])
    print(f"{sum(map(len, jobs.values()))} runs end; their checkpoints stand")
