"""A claim names the job of any launcher, in the form that folders of earlier versions have."""

from __future__ import annotations

import pytest

from crate.run.claim import Claim, JobId, claim_of_this_process
from crate.run.status import Measured

STORED = {
    JobId("slurm", "7_1"): {"slurm": "7_1", "code": "c0de"},
    JobId("local", "/a/pool.json"): {"pool": "/a/pool.json", "code": "c0de"},
    JobId("lsf", "42"): {"launcher": "lsf", "job": "42", "code": "c0de"},
}


@pytest.mark.parametrize("job", STORED)
def test_a_job_is_stored_and_read_back(job):
    claim = Claim.to(job, "c0de")
    assert claim.to_json() == STORED[job]
    assert Claim.from_json(STORED[job]).job_id == job


def test_a_claim_without_a_job_has_none():
    assert Claim().job_id is None and Claim.from_json({"launcher": "lsf"}).job_id is None


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "9"}, JobId("slurm", "9")),
        (
            {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"},
            JobId("slurm", "7_1"),
        ),
        ({"CRATE_POOL": "/a/pool.json", "SLURM_JOB_ID": "9"}, JobId("local", "/a/pool.json")),
        ({"CRATE_LAUNCHER": "lsf", "CRATE_JOB": "42"}, JobId("lsf", "42")),
        ({"CRATE_LAUNCHER": "lsf"}, None),
    ],
)
def test_a_process_knows_its_job_by_its_environment(environment, job):
    claim = claim_of_this_process(environment)
    assert (claim.job_id if claim else None) == job
    assert claim is None or claim.code is None  # the checkout is no snapshot


def test_a_measurement_names_its_launcher_also_if_an_earlier_version_wrote_it():
    def launched_by(**values):
        return Measured(shape="x", device_s_per_epoch=1.0, hardware="y", **values).launched_by

    assert launched_by(in_slurm=True) == "slurm" and launched_by(in_slurm=False) == "local"
    assert launched_by(in_slurm=False, launcher="lsf") == "lsf"
    assert launched_by(in_slurm=True, launcher="local") == "slurm"  # a pool within a Slurm job
