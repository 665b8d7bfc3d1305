"""Hand frozen points over to a launcher; they are claimed first, so that nobody else does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from crate.run.claim import Claim
from crate.run.folder import RunFolder, runs_by_signature
from crate.run.liveness import this_process
from crate.sweep.launchers import slurm
from crate.sweep.launchers.local import Heartbeat
from crate.sweep.options import Launcher, Slurm
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import Attempt, Manifest

logger = logging.getLogger("crate")


def hand_over(
    sweep: SweepFolder,
    manifest: Manifest,
    todo: dict[str, Path],
    options: Launcher,
    heartbeat: Heartbeat,
) -> list[str]:
    """Claim runs, signatures with their snapshots, and give them to Slurm if that is chosen.

    Return the numbers of the job arrays. The caller holds the lock, and then has the pool of
    `heartbeat` run them if the local launcher is chosen. Every job is in the manifest, and in its
    run's status, as soon as it has a number.
    """
    if not todo:
        return []
    folders = {key: RunFolder(runs_by_signature(sweep.outputs)[key]) for key in todo}
    pool = None if isinstance(options, Slurm) else str(heartbeat.path)
    if pool:
        heartbeat.beat()
    for key, folder in folders.items():
        folder.cancelled.unlink(missing_ok=True)
        code = todo[key].name
        claim = Claim(pool=pool, code=code) if pool else Claim(process=this_process(), code=code)
        folder.update_status(state="queued", reason=None, claim=claim, sigterm_at=None)
    if pool:
        _note(sweep, manifest, {key: Claim(pool=pool) for key in todo}, todo)
        return []
    arrays: list[str] = []
    for code in dict.fromkeys(todo.values()):
        signatures = [key for key in todo if todo[key] == code]
        for jobs in slurm.submit(sweep, signatures, options, code):
            claims = {key: Claim(slurm=job, code=code.name) for key, job in jobs.items()}
            for key, claim in claims.items():
                if folders[key].status.state == "queued":  # otherwise it runs, and says so
                    folders[key].update_status(claim=claim)
            _note(sweep, manifest, claims, todo)
            arrays += _arrays(jobs.values())
    return arrays


def _note(
    sweep: SweepFolder, manifest: Manifest, claims: dict[str, Claim], todo: dict[str, Path]
) -> None:
    """Adds an attempt to each point of the manifest."""
    for key, claim in claims.items():
        attempt = Attempt(code=todo[key].name, time=time.time(), slurm=claim.slurm, pool=claim.pool)
        manifest.points[key].attempts.append(attempt)
    sweep.write_manifest(manifest)


def _arrays(jobs: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(job.partition("_")[0] for job in jobs))
