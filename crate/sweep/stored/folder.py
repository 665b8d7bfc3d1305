"""A sweep's folder: what was asked for, which run answers it, and who was told to do it.

    outputs/sweeps/<name>-<hash of its fixed overrides>/
        manifest.json           the sweep, its launches, its points and their jobs
        points/<signature>.json a frozen point; see crate/sweep/stored/point_file.py
        jobs/                   what the jobs printed; <job>.exit: the exit code of its script
    outputs/code/<hash>/        the code that jobs run; see crate/sweep/code/snapshot.py

The runs themselves lie in outputs/runs, and belong to no sweep. A manifest that is missing or
damaged is made again from `points/` and the runs. Imports no torch.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

from crate.errors import UserError, nearest, shorten
from crate.run import records
from crate.run.ownership import Ownership, held
from crate.run.records import Damaged, Unreadable, warn_once
from crate.sweep.stored.manifest import Manifest
from crate.sweep.stored.point_file import PointFile
from crate.sweep.stored.rebuild import digest, rebuilt

PATIENCE_S = 330.0  # longer than a dead owner counts as alive


class SweepFolder:
    """One sweep below `outputs`/sweeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outputs = path.parent.parent
        self.jobs = path / "jobs"
        self.points = path / "points"

    @classmethod
    def create(cls, outputs: str, name: str, fixed: list[str]) -> SweepFolder:
        """Returns the folder of a sweep's name and fixed overrides, made if need be."""
        words = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80].strip("-_.") or "sweep"
        folder = cls(Path(outputs, "sweeps", f"{words}-{digest(fixed)}"))
        folder.jobs.mkdir(parents=True, exist_ok=True)
        folder.points.mkdir(exist_ok=True)
        return folder

    @property
    def manifest(self) -> Manifest:
        """The manifest; if it is missing or damaged, a warning and what the other files tell."""
        try:
            stored = records.read(Manifest, self._manifest_file)
            if stored is not None or not self._has_points():
                return stored or rebuilt(self.path)
            problem = f"{self._manifest_file} is missing"
        except Unreadable as error:
            problem = error.given
        warn_once(f"{problem}; what {self.points} and the runs tell is used in its place")
        return rebuilt(self.path)

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest as a whole file; the caller holds the lock of `outputs`.

        A damaged one is kept under another name.
        """
        records.write(self._manifest_file, manifest)

    def repair(self) -> None:
        """Write the manifest anew if it is missing or damaged; the caller holds the lock."""
        if not self.is_whole() and self.exists():
            self.write_manifest(self.manifest)

    def is_whole(self) -> bool:
        """Tell whether the manifest is there and not damaged."""
        try:
            return records.read(Manifest, self._manifest_file) is not None
        except Damaged:
            return False

    def exists(self) -> bool:
        """Tell whether the folder is that of a sweep: it has a manifest, or had one, or points."""
        return any(self.path.glob("manifest.json*")) or self._has_points()

    def launched_at(self) -> float:
        """Return when the sweep was launched last (seconds since 1970)."""
        file = self._manifest_file if self._manifest_file.exists() else self.points
        return file.stat().st_mtime if file.exists() else 0.0

    def named(self) -> set[str]:
        """Return the signatures of all points, those of damaged files included."""
        return {*self.manifest.points, *(file.stem for file in self.points.glob("*.json"))}

    def point_file(self, signature: str) -> Path:
        """Return the path of a frozen point."""
        return self.points / f"{signature}.json"

    def point(self, signature: str) -> PointFile:
        """Return a frozen point; raise UserError if its file is missing or damaged."""
        file = self.point_file(signature)
        point = records.read(PointFile, file)
        if point is None:
            raise Damaged(f"{file} is missing")
        return point

    @property
    def _manifest_file(self) -> Path:
        return self.path / "manifest.json"

    def _has_points(self) -> bool:
        return any(self.points.glob("*.json"))


def locked(outputs: str | Path) -> AbstractContextManager[Ownership]:
    """Holds the right to launch, cancel and remove below `outputs`; waits for whoever has it.

    Raises Busy where that takes over five minutes.
    """
    what = f"another command that works at the sweeps of {outputs}"
    return held(Path(outputs, "sweeps", ".lock"), what, fix="outputs=FOLDER", patience_s=PATIENCE_S)


def sweeps(outputs: str | Path) -> list[SweepFolder]:
    """Returns the sweeps below `outputs`, the one launched last at the end."""
    folders = [SweepFolder(path) for path in Path(outputs, "sweeps").glob("[!.]*")]
    return sorted((each for each in folders if each.exists()), key=SweepFolder.launched_at)


def find_sweep(outputs: str | Path, name: str) -> SweepFolder:
    """Returns the sweep of a folder's name or of a sweep's; raises UserError unless it is one."""
    found = {folder.path.name: folder for folder in sweeps(outputs)}
    if name in found:
        return found[name]
    named = {key: folder for key, folder in found.items() if folder.manifest.name == name}
    if len(named) == 1:
        return next(iter(named.values()))
    if named:
        told = "\n           ".join(
            f"{key}: {' '.join(folder.manifest.fixed) or 'nothing fixed'}"
            for key, folder in named.items()
        )
        raise UserError(f"{len(named)} sweeps are named {name}", told, next(iter(named)))
    ranked = nearest(name, found)
    fix = ranked[0] if ranked else "python launch.py sweep=demo"
    raise UserError(f"there is no sweep {name} in {outputs}", shorten(ranked) or "none yet", fix)
