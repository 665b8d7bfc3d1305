"""`clean`: remove a sweep with its runs, or what no sweep needs, after asking."""

from __future__ import annotations

import argparse
from pathlib import Path

from crate.errors import UserError
from crate.run.folder import is_set_aside
from crate.sweep.code.snapshot import snapshot_folder
from crate.sweep.commands.arguments import add_sweep, sweep_of
from crate.sweep.commands.confirm import add_yes
from crate.sweep.commands.removal import Reasons, remove_after_asking
from crate.sweep.define.swept import as_words
from crate.sweep.select import Selection
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.outputs import sweeps

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
    """Remove the runs that were set aside and the code snapshots that no sweep names; return 0."""
    return remove_after_asking(outputs, lambda: _unneeded(outputs), yes=yes)


def clean_sweep(sweep: SweepFolder, *, yes: bool) -> int:
    """Remove a sweep's folder, and the runs and snapshots that no other sweep names; return 0.

    Raise UserError if one of these runs is at work.
    """
    return remove_after_asking(sweep.outputs, lambda: _of_sweep(sweep), yes=yes)


def _unneeded(outputs: Path) -> Reasons:
    """Return the folders below `outputs` that no sweep needs, except finished runs."""
    aside = [path for path in sorted(outputs.glob("runs/*")) if is_set_aside(path)]
    leaving = sorted(outputs.glob("runs/.*.removed"))
    unused = _unused_code(outputs, sweeps(outputs))
    return (
        dict.fromkeys(aside, "set aside")
        | dict.fromkeys(leaving, "partly removed")
        | dict.fromkeys(unused, "code of no sweep")
    )


def _of_sweep(sweep: SweepFolder) -> Reasons:
    """Return the folder of a sweep, and the runs and snapshots that only this sweep names."""
    selection = Selection(sweep, [])
    others = [other for other in sweeps(sweep.outputs) if other.path != sweep.path]
    shared = {key for other in others for key in other.named()}
    runs: Reasons = {}
    for key, state in selection.states.items():
        if key in shared:
            continue
        if state.is_active:
            raise UserError(
                f"{as_words(selection.swept[key])} is {state.state}",
                "a sweep without active runs",
                f"python -m crate.sweep cancel {sweep.path.name}",
            )
        if state.path is not None:
            runs[state.path] = f"{state.state}: {as_words(selection.swept[key])}"
    kept = len(selection.swept.keys() & shared)
    reason = f"the sweep; {kept} of its runs are kept for other sweeps" if kept else "the sweep"
    unused_before = _unused_code(sweep.outputs, sweeps(sweep.outputs))
    code = [path for path in _unused_code(sweep.outputs, others) if path not in unused_before]
    return {sweep.path: reason} | runs | dict.fromkeys(code, "its code")


def _unused_code(outputs: Path, used_by: list[SweepFolder]) -> list[Path]:
    """Return the snapshots that no sweep uses; [] if a damaged sweep may use any of them."""
    store = snapshot_folder(outputs, "")
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
