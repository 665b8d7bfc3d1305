"""A sweep's folder: its points, its launches, and the jobs that run the points.

    outputs/sweeps/<name>-<hash of its fixed overrides>/
        manifest.json           the sweep, its launches, its points and their jobs
        points/<signature>.json a frozen point; see crate/sweep/stored/point_file.py
        jobs/                   output of the jobs; <job>.exit: the exit code of its script
    outputs/code/<hash>/        the code that jobs run; see crate/sweep/code/snapshot.py

The runs lie in outputs/runs and can be shared by several sweeps. A manifest that is missing or
damaged is rebuilt from `points/` and the runs.
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from crate.run import records
from crate.run.records import Damaged, Unreadable, warn_once
from crate.sweep.stored.manifest import Manifest
from crate.sweep.stored.point_file import PointFile
from crate.sweep.stored.rebuild import hash_of_fixed, rebuilt


class SweepFolder:
    """One sweep below `outputs`/sweeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outputs = path.parent.parent
        self.jobs = path / "jobs"
        self.points = path / "points"

    @classmethod
    def create(cls, outputs: str, name: str, fixed: list[str]) -> SweepFolder:
        """Return the folder for a sweep's name and fixed overrides; create it if it is missing."""
        words = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80].strip("-_.") or "sweep"
        folder = cls(Path(outputs, "sweeps", f"{words}-{hash_of_fixed(fixed)}"))
        folder.jobs.mkdir(parents=True, exist_ok=True)
        folder.points.mkdir(exist_ok=True)
        return folder

    @property
    def manifest(self) -> Manifest:
        """The manifest; if it is missing or damaged, warn and rebuild it from the other files."""
        try:
            stored = records.read(Manifest, self._manifest_file)
            if stored is not None or not self._has_points():
                return stored or rebuilt(self.path)
            problem = f"{self._manifest_file} is missing"
        except Unreadable as error:
            problem = error.given
        warn_once(f"{problem}; it is rebuilt from {self.points} and the runs")
        return rebuilt(self.path)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace manifest.json; the caller holds the lock of `outputs`.

        A damaged file is kept under another name.
        """
        records.write(self._manifest_file, manifest)

    def repair(self) -> None:
        """Write a rebuilt manifest if it is missing or damaged; the caller holds the lock."""
        if not self.is_whole() and self.exists():
            self.write_manifest(self.manifest)

    def is_whole(self) -> bool:
        """Return whether the manifest exists and is not damaged."""
        try:
            return records.read(Manifest, self._manifest_file) is not None
        except Damaged:
            return False

    def exists(self) -> bool:
        """Return whether this is a sweep's folder: it has points, or a manifest, damaged or not."""
        return any(self.path.glob("manifest.json*")) or self._has_points()

    def launched_at(self) -> float:
        """Return the time of the last launch (seconds since 1970); 0.0 if it is not known."""
        file = self._manifest_file if self._manifest_file.exists() else self.points
        return file.stat().st_mtime if file.exists() else 0.0

    def named(self) -> set[str]:
        """Return the signatures of all points, including those whose file is damaged."""
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

    def job_logs(self, job: str) -> list[Path]:
        """Return the files with the output of a launcher's job; [] for a local pool."""
        return sorted(self.jobs.glob(f"{glob.escape(os.path.basename(job))}_*_log.*"))

    @property
    def _manifest_file(self) -> Path:
        return self.path / "manifest.json"

    def _has_points(self) -> bool:
        return any(self.points.glob("*.json"))
