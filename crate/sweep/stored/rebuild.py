"""Rebuild the manifest of a sweep from its frozen points and their runs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from crate.run import records
from crate.run.folder import RunFolder, runs_by_signature
from crate.run.records import Unreadable, warn_once
from crate.run.secrets import redact
from crate.sweep.stored.manifest import Attempt, LaunchEntry, Manifest, SweepPoint
from crate.sweep.stored.point_file import PointFile

MAX_OVERRIDES = 12  # more have too many subsets to search


def hash_of_fixed(fixed: list[str]) -> str:
    """Return the end of a sweep folder's name: a hash of what was typed for all of its points."""
    return hashlib.sha256("\n".join(sorted(fixed)).encode()).hexdigest()[:6]


def rebuilt(path: Path) -> Manifest:
    """Return the manifest of the sweep folder `path`, as far as its files allow.

    Warn of a damaged point file, and leave its point out. Only the last attempt at each point can
    be rebuilt.
    """
    name, _, hashed = path.name.rpartition("-")
    points = _point_files(path / "points")
    if not points:
        return Manifest(name=name, fixed=[], points={})
    newest = max(points, key=lambda point: point.launch.time if point.launch else 0)
    fixed = newest.fixed if newest.fixed is not None else _fixed(points[0], hashed)
    launches = {point.launch.time: point.launch for point in points if point.launch}
    runs = runs_by_signature(path.parent.parent)
    return Manifest(
        name=newest.sweep_name or name,
        fixed=fixed,
        **redact(newest.statement),
        launches=[launches[time] for time in sorted(launches)],
        points={
            point.signature: SweepPoint(
                overrides=point.overrides,
                swept=point.swept,
                attempts=_attempts(path, point, runs.get(point.signature)),
            )
            for point in points
        },
    )


def _point_files(folder: Path) -> list[PointFile]:
    """Return the frozen points of a sweep, oldest file first."""
    points = []
    for file in sorted(folder.glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file)):
        try:
            point = records.read(PointFile, file)
        except Unreadable as error:
            warn_once(f"{error.given}; its run is left out")
            continue
        if point is not None:
            points.append(point)
    return points


def _fixed(point: PointFile, hashed: str) -> list[str]:
    """Return the overrides that the hash in the folder's name was made of; [] if unknown."""
    keys = {text: text.lstrip("+").partition("=")[0] for text in point.overrides}
    shared = [text for text in point.overrides if keys[text] not in point.swept]
    if len(shared) > MAX_OVERRIDES:
        return []
    for size in range(len(shared), -1, -1):
        for chosen in combinations(shared, size):
            if hash_of_fixed(list(chosen)) == hashed:
                return sorted(chosen)
    return []


def _attempts(path: Path, point: PointFile, run: Path | None) -> list[Attempt]:
    """Return the last attempt at a point by this sweep, read from the status of its run."""
    claim = RunFolder(run).status.claim if run is not None else None
    job = claim.job_id if claim is not None else None
    if claim is None or job is None or not _is_of(path, job.name):
        return []
    launch = point.launch or LaunchEntry(time=0.0, launcher="local")
    attempt = Attempt.to(job, claim.code or launch.code)
    return [replace(attempt, time=launch.time or None)]


def _is_of(path: Path, job: str) -> bool:
    """Return whether the sweep folder `path` holds output or the heartbeat file of a job."""
    if os.path.dirname(job):
        return Path(job).parent == path
    return any(path.glob(f"jobs/{job}_*"))
