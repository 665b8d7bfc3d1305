"""A sweep's folder: what was asked for, which run answers it, and who was told to do it.

    outputs/sweeps/<name>-<hash of its fixed overrides>/
        manifest.json           the sweep, its launches, its points and their jobs
        points/<signature>.json a point's frozen configuration
        jobs/                   what the jobs themselves printed
    outputs/code/<hash>/        the code that jobs run; see crate/sweep/snapshot.py

The runs themselves lie in outputs/runs, and belong to no sweep. Imports no torch.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import AbstractContextManager
from pathlib import Path

from crate import records
from crate.config.errors import UserError, nearest, shorten
from crate.ownership import Ownership, held
from crate.sweep.manifest import Manifest

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
        digest = hashlib.sha256("\n".join(sorted(fixed)).encode()).hexdigest()[:6]
        folder = cls(Path(outputs, "sweeps", f"{words}-{digest}"))
        folder.jobs.mkdir(parents=True, exist_ok=True)
        folder.points.mkdir(exist_ok=True)
        return folder

    @property
    def manifest(self) -> Manifest:
        """The manifest; one without points if there is none yet."""
        name = self.path.name.rpartition("-")[0]
        empty = Manifest(name=name, fixed=[], points={})
        return records.read(Manifest, self.path / "manifest.json") or empty

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest as a whole file; the caller holds the lock of `outputs`."""
        records.write(self.path / "manifest.json", manifest)

    def point_file(self, signature: str) -> Path:
        """Returns the place of a point's frozen configuration."""
        return self.points / f"{signature}.json"


def locked(outputs: str | Path) -> AbstractContextManager[Ownership]:
    """Holds the right to launch, cancel and remove below `outputs`; waits for whoever has it.

    Raises Busy where that takes over five minutes.
    """
    what = f"another command that works at the sweeps of {outputs}"
    return held(Path(outputs, "sweeps", ".lock"), what, fix="outputs=FOLDER", patience_s=PATIENCE_S)


def sweeps(outputs: str | Path) -> list[SweepFolder]:
    """Returns the sweeps below `outputs`, the one launched last at the end."""
    files = Path(outputs, "sweeps").glob("*/manifest.json")
    return [
        SweepFolder(file.parent) for file in sorted(files, key=lambda file: file.stat().st_mtime)
    ]


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
