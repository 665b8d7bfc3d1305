"""Who is to run a point: a launcher's job, or the process that is launching it just now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from crate.paths import CHECKOUT
from crate.run import provenance
from crate.run.liveness import Owner
from crate.run.records import Record

# The launchers of the first version, and the key under which their jobs are stored since then.
_STORED_AS = {"slurm": "slurm", "local": "pool"}


class JobId(NamedTuple):
    """A job: the name of its launcher, a key of LAUNCHERS, and the launcher's name for the job."""

    launcher: str
    name: str


@dataclass(kw_only=True)
class HandedOver(Record):
    """Base class of records that name a job and the code snapshot that it runs.

    A Slurm job is stored as `slurm`, a local pool as `pool` (the path of its heartbeat file), and
    the job of any other launcher as `launcher` and `job`.
    """

    slurm: str | None = None
    pool: str | None = None
    launcher: str | None = None
    job: str | None = None
    code: str | None = None

    @classmethod
    def to(cls, job: JobId, code: str | None) -> Self:
        """Return the record of a job that runs the snapshot named `code`."""
        record = cls(code=code)
        if job.launcher in _STORED_AS:
            setattr(record, _STORED_AS[job.launcher], job.name)
        else:
            record.launcher, record.job = job
        return record

    @property
    def job_id(self) -> JobId | None:
        """The job, whichever launcher it belongs to; None without one."""
        for launcher, key in _STORED_AS.items():
            if name := getattr(self, key):
                return JobId(launcher, name)
        if self.launcher and self.job:
            return JobId(self.launcher, self.job)
        return None


@dataclass(kw_only=True)
class Claim(HandedOver):
    """Who is to run a point: a job, or while that has no name yet the launching process."""

    process: Owner | None = None


def claim_of_this_process(environment: Mapping[str, str] = os.environ) -> Claim | None:
    """Return the claim of the job that this process belongs to; None for a run without a job.

    The local pool sets CRATE_POOL, Slurm its own variables, and any other launcher CRATE_LAUNCHER
    and CRATE_JOB.
    """
    job = _job_of(environment)
    code = CHECKOUT.name if provenance.is_snapshot(CHECKOUT) else None
    return None if job is None else Claim.to(job, code)


def _job_of(environment: Mapping[str, str]) -> JobId | None:
    if "CRATE_POOL" in environment:
        return JobId("local", environment["CRATE_POOL"])
    if "CRATE_LAUNCHER" in environment and "CRATE_JOB" in environment:
        return JobId(environment["CRATE_LAUNCHER"], environment["CRATE_JOB"])
    if "SLURM_ARRAY_JOB_ID" in environment:
        array, task = environment["SLURM_ARRAY_JOB_ID"], environment["SLURM_ARRAY_TASK_ID"]
        return JobId("slurm", f"{array}_{task}")
    return JobId("slurm", environment["SLURM_JOB_ID"]) if "SLURM_JOB_ID" in environment else None
