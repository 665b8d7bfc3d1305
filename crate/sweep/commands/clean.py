"""`clean`: remove what nothing needs any more, or a whole sweep. List it, and ask first.

What is to go is decided before the question and, as others may have launched or run something
meanwhile, once more under the lock after the answer. Nothing goes that was not shown.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from crate.errors import UserError
from crate.run.console import say_on_console
from crate.run.folder import is_set_aside, remove
from crate.run.ownership import Ownership, require_dead
from crate.sweep.code.snapshot import place
from crate.sweep.commands.arguments import add_sweep, sweep_of
from crate.sweep.commands.confirm import add_yes, confirms
from crate.sweep.define.swept import as_words
from crate.sweep.select import Selection
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.outputs import locked, sweeps

Found = dict[Path, str]  # a folder to remove -> why

HELP = "remove a sweep and its runs; without NAME, all that no sweep needs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_sweep(parser)
    add_yes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Remove one sweep, or what no sweep needs; return 0."""
    if arguments.sweep is None:
        return clean(arguments.outputs, yes=arguments.yes)
    return clean_sweep(sweep_of(arguments), yes=arguments.yes)


def clean(outputs: Path, *, yes: bool) -> int:
    """Remove the runs that were set aside, and the snapshots that no sweep names."""

    def decide() -> Found:
        found = {path: "set aside" for path in sorted(outputs.glob("runs/*")) if is_set_aside(path)}
        found |= {path: "removed in part" for path in sorted(outputs.glob("runs/.*.removed"))}
        unused = _unused_code(outputs, sweeps(outputs))
        return found | {path: "code of no sweep" for path in unused}

    return _remove(outputs, decide, yes=yes)


def clean_sweep(sweep: SweepFolder, *, yes: bool) -> int:
    """Remove a sweep: its folder, its runs that no other sweep names, and then unused code.

    Raise UserError if one of its runs is at work.
    """
    return _remove(sweep.outputs, lambda: _of_sweep(sweep), yes=yes)


def _of_sweep(sweep: SweepFolder) -> Found:
    selection = Selection(sweep, [])
    others = [other for other in sweeps(sweep.outputs) if other.path != sweep.path]
    named = {key for other in others for key in other.named()}
    found = {sweep.path: "the sweep"}
    for key, state in selection.states.items():
        if state.is_active and key not in named:
            raise UserError(
                f"{as_words(selection.swept[key])} is {state.state}",
                "a sweep that nothing works at",
                f"python -m crate.sweep cancel {sweep.path.name}",
            )
        if state.path is not None and key not in named:
            found[state.path] = f"{state.state}: {as_words(selection.swept[key])}"
    kept = [key for key in selection.swept if key in named]
    if kept:
        found[sweep.path] += f"; {len(kept)} of its runs are kept, of other sweeps too"
    before = _unused_code(sweep.outputs, sweeps(sweep.outputs))
    unused = [path for path in _unused_code(sweep.outputs, others) if path not in before]
    return found | {path: "its code" for path in unused}


def _unused_code(outputs: Path, used_by: list[SweepFolder]) -> list[Path]:
    """Return the snapshots that no sweep names; none if one of them cannot tell its snapshots."""
    store = place(outputs, "")
    if not store.is_dir() or not all(sweep.is_whole() for sweep in used_by):
        return []
    manifests = [sweep.manifest for sweep in used_by]
    points = [point for manifest in manifests for point in manifest.points.values()]
    used = {attempt.code for point in points for attempt in point.attempts}
    if None in used:
        return []
    used |= {launch.code for manifest in manifests for launch in manifest.launches}
    folders = [path for path in sorted(store.iterdir()) if not path.name.startswith(".")]
    return [path for path in folders if path.name not in used]


def _remove(outputs: Path, decide: Callable[[], Found], *, yes: bool) -> int:
    """Show what `decide` finds, ask, and remove it if that is still what it finds."""
    say_on_console(True)
    found = decide()
    if not found:
        print("nothing to remove")
        return 0
    for path, why in found.items():
        print(f"{_size_mb(path):9.1f} MB  {path}  ({why})")
    if not yes and not confirms(f"remove these {len(found)} folders?"):
        print("nothing was removed")
        return 0
    with locked(outputs), ExitStack() as owned:
        if decide().keys() != found.keys():
            raise UserError(
                "something was launched, run or removed since the folders were listed, "
                "so nothing was removed",
                "looking at the new list",
                "the same command again",
            )
        runs = [path for path in found if path.parent.name == "runs"]
        require_dead(runs)
        for path in runs:  # a process that begins a run just now is refused, or refuses us
            owned.callback(Ownership.take(path).release)
        for path in found:
            remove(path) if path in runs else shutil.rmtree(path)
    print(f"removed {len(found)} folders")
    return 0


def _size_mb(folder: Path) -> float:
    return (
        sum(
            os.lstat(os.path.join(parent, name)).st_size
            for parent, _, names in os.walk(folder)
            for name in names
        )
        / 1e6
    )
