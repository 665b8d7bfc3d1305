"""`clean`: removes what nothing needs any more, or a whole sweep. Lists it, and asks first."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from crate.config.errors import UserError
from crate.progress import say_on_console
from crate.sweep.cancel import agrees
from crate.sweep.folder import SweepFolder, locked, sweeps
from crate.sweep.select import Selection
from crate.sweep.snapshot import place
from crate.sweep.table import words


def clean(outputs: Path, *, yes: bool) -> int:
    """Removes the runs that were set aside, and the snapshots that no sweep names."""
    say_on_console(True)
    with locked(outputs):
        found = {path: "set aside" for path in _set_aside(outputs)}
        found |= {path: "code of no sweep" for path in _unused_code(outputs, sweeps(outputs))}
        return _remove(found, yes=yes)


def clean_sweep(sweep: SweepFolder, *, yes: bool) -> int:
    """Removes a sweep: its folder, its runs that no other sweep names, and then unused code.

    Raises UserError where one of its runs is at work.
    """
    say_on_console(True)
    with locked(sweep.outputs):
        selection = Selection(sweep, [])
        others = [other for other in sweeps(sweep.outputs) if other.path != sweep.path]
        named = {key for other in others for key in other.manifest.points}
        found = {sweep.path: "the sweep"}
        for key, state in selection.states.items():
            if state.is_active and key not in named:
                raise UserError(
                    f"{words(selection.swept[key])} is {state.state}",
                    "a sweep that nothing works at",
                    f"python -m crate.sweep cancel {sweep.path.name}",
                )
            if state.path is not None and key not in named:
                found[state.path] = f"{state.state}: {words(selection.swept[key])}"
        kept = [key for key in selection.swept if key in named]
        if kept:
            print(f"kept, of other sweeps too: {len(kept)} runs")
        before = set(_unused_code(sweep.outputs, sweeps(sweep.outputs)))
        unused = set(_unused_code(sweep.outputs, others)) - before
        return _remove(found | {path: "its code" for path in sorted(unused)}, yes=yes)


def _set_aside(outputs: Path) -> list[Path]:
    return sorted(p for p in outputs.glob("runs/*-old-*") if re.search(r"-old-\d+$", p.name))


def _unused_code(outputs: Path, used_by: list[SweepFolder]) -> Iterator[Path]:
    used = {
        attempt.code
        for sweep in used_by
        for point in sweep.manifest.points.values()
        for attempt in point.attempts
    }
    store = place(outputs, "")
    for path in sorted(store.iterdir()) if store.is_dir() else []:
        if path.name not in used and not path.name.startswith("."):
            yield path


def _remove(found: dict[Path, str], *, yes: bool) -> int:
    if not found:
        print("nothing to remove")
        return 0
    for path, why in found.items():
        print(f"{_size_mb(path):9.1f} MB  {path}  ({why})")
    if not yes and not agrees(f"remove these {len(found)} folders?"):
        print("nothing was removed")
        return 0
    for path in found:
        shutil.rmtree(path)
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
