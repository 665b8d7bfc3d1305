"""The sweeps below an outputs folder: list them, find one by name, lock them for changes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from crate.errors import UserError, nearest, shorten
from crate.run.ownership import Ownership, held
from crate.sweep.stored.folder import SweepFolder

PATIENCE_S = 330.0  # longer than a dead owner counts as alive


def locked(outputs: str | Path) -> AbstractContextManager[Ownership]:
    """Hold the right to launch, cancel and remove below `outputs`; wait for its present holder.

    Raise Busy if that takes more than PATIENCE_S.
    """
    what = f"another command that changes the sweeps of {outputs}"
    return held(Path(outputs, "sweeps", ".lock"), what, fix="outputs=FOLDER", patience_s=PATIENCE_S)


def sweeps(outputs: str | Path) -> list[SweepFolder]:
    """Return the sweeps below `outputs`, the one launched last at the end."""
    folders = [SweepFolder(path) for path in Path(outputs, "sweeps").glob("[!.]*")]
    return sorted((each for each in folders if each.exists()), key=SweepFolder.launched_at)


def find_sweep(outputs: str | Path, name: str) -> SweepFolder:
    """Return the sweep with this name, or whose folder has it.

    Raise UserError if there is none, or several; these are listed with the newest first.
    """
    newest_first = sweeps(outputs)[::-1]
    folders = {sweep.path.name: sweep for sweep in newest_first}
    if name in folders:
        return folders[name]
    namesakes = [sweep for sweep in newest_first if sweep.manifest.name == name]
    if len(namesakes) == 1:
        return namesakes[0]
    if namesakes:
        rows = [
            f"{sweep.path.name}: {' '.join(sweep.manifest.fixed) or 'nothing fixed'}"
            for sweep in namesakes
        ]
        given = f"{len(namesakes)} sweeps are named {name}"
        raise UserError(given, "\n           ".join(rows), namesakes[0].path.name)
    ranked = nearest(name, folders)
    fix = ranked[0] if ranked else "python launch.py sweep=demo"
    raise UserError(f"there is no sweep {name} in {outputs}", shorten(ranked) or "none yet", fix)
