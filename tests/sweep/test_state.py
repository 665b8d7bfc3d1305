"""The state of a run, from its folder, its process, and its launcher."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from crate.run.liveness import this_process
from crate.run.ownership import Ownership
from crate.run.status import Status
from crate.sweep.state import OTHER_CODE, STALLED_S, look


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that writes a run folder and fakes Slurm, and returns the run's state."""
    slurm, path = tmp_path / "bin", tmp_path / "runs" / "a-123"
    slurm.mkdir()
    path.mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{slurm}:/usr/bin:/bin")

    def program(name: str, says: str | None) -> None:
        body = f"cat <<'END'\n{says}\nEND" if says is not None else "exit 1"
        (slurm / name).write_text(f"#!/bin/sh\n{body}\n")
        (slurm / name).chmod(0o755)

    def state_of(
        *, squeue="", sacct=None, owned=False, cancelled=False, silent_s=0.0, **status
    ) -> tuple:
        program("squeue", squeue)
        program("sacct", sacct)
        mark = path / "cancelled.json"
        mark.touch() if cancelled else mark.unlink(missing_ok=True)
        status = {"heartbeat": time.time(), "last_top1": 1.0, "best_top1": 1.0} | status
        (path / "status.json").write_text(json.dumps(status))
        os.utime(path / "status.json", (time.time() - silent_s,) * 2)
        owner = Ownership.take(path) if owned else None
        state = look({"123": path})["123"]
        if owner:
            owner.release()
        return state.state, state.reason

    return state_of


SLURM = {"slurm": "7_1"}


def test_a_run_that_never_began_is_new(tmp_path):
    state = look({"a": None})["a"]
    assert (state.state, state.status, state.is_active) == ("new", Status(), False)


@pytest.mark.parametrize("state", ["finished", "failed", "stopped"])
def test_the_recorded_end_of_a_run_overrides_slurm(run, state):
    assert run(state=state, reason="why")[0] == state
    assert run(state=state, reason="why", claim=SLURM, sacct="7_1|FAILED")[0] == state
    assert run(state=state, reason="why", claim=SLURM, squeue=None)[0] == state


def test_a_live_run_is_running_until_it_makes_no_step(run):
    assert run(state="running", owned=True) == ("running", None)
    long_ago = time.time() - STALLED_S - 120
    assert run(state="running", owned=True, step_at=long_ago) == ("stalled", "no step for 12 min")
    ahead = {"step_at": long_ago + 9999, "heartbeat": time.time() + 9999}  # a clock that is ahead
    assert run(state="running", owned=True, **ahead) == ("stalled", "no step for 12 min")
    assert run(state="running", owned=True, silent_s=STALLED_S + 30)[0] == "stalled"
    silent = run(state="running", claim=SLURM, squeue="7_1|RUNNING")
    assert silent == ("stalled", "its job runs, but its process sends no heartbeat")


def test_a_job_that_waits_in_slurm_is_queued_also_when_requeued(run):
    for word in ("queued", "running", "stopped", "failed"):
        assert run(state=word, claim=SLURM, squeue="7_1|PENDING") == ("queued", None), word
    assert run(state="stopped", claim=SLURM, squeue="7_1|COMPLETING") == ("queued", None)
    ended = "7_1|COMPLETING|2026-11-24T08:17:55"
    assert run(state="failed", claim=SLURM, squeue=ended, reason="x")[0] == "failed"


def test_a_job_that_slurm_is_requeuing_is_not_retried(run):
    """squeue reports COMPLETING, as for a job that ends; only the latter has an end time."""
    for word in ("queued", "running", "stopped", "failed"):
        requeued = run(state=word, claim=SLURM, squeue="7_1|COMPLETING|N/A", reason="x")
        assert requeued == ("queued", None), word


def test_a_job_that_ended_before_its_run_began_is_failed_and_not_lost(run, tmp_path):
    queued = {"state": "queued", "claim": SLURM}
    for slurm in ("FAILED", "COMPLETED"):
        for tool in ("squeue", "sacct"):
            state, reason = run(**queued, **{tool: f"7_1|{slurm}"})
            assert state == "failed" and f"ended as {slurm} before the run began" in reason
    assert run(**queued)[0] == "lost"
    mark = tmp_path / "sweeps" / "any" / "jobs" / "7_1.exit"
    mark.parent.mkdir(parents=True)
    for noted, reason in (("", "ended before"), ("2\n", "ended with exit code 2 before")):
        mark.write_text(noted)  # by the job's script, of which Slurm knows nothing any more
        assert run(**queued) == ("failed", f"its job {reason} the run began; see its logs")
        assert run(state="running", claim=SLURM)[0] == "dead"
    assert run(**queued, squeue="7_1|PENDING") == ("queued", None)  # requeued since


def test_no_run_is_lost_while_slurm_does_not_answer(run):
    assert run(state="queued", claim=SLURM, squeue=None) == ("queued", "Slurm does not answer")
    assert run(state="running", claim=SLURM, squeue=None) == ("stalled", "Slurm does not answer")
    assert run(state="queued", claim=SLURM, squeue="")[0] == "lost"


def test_a_run_of_an_unknown_launcher_is_not_lost(run):
    foreign = {"launcher": "lsf", "job": "7"}
    reason = "this checkout has no launcher lsf"
    assert run(state="queued", claim=foreign) == ("queued", reason)
    assert run(state="running", claim=foreign) == ("stalled", reason)
    assert run(state="failed", claim=foreign, reason="x") == ("failed", "x")


@pytest.mark.parametrize("tool", ["squeue", "sacct"])
@pytest.mark.parametrize(
    ("slurm", "state"),
    [
        ("CANCELLED", "cancelled"),
        ("CANCELLED by 1000", "cancelled"),
        ("TIMEOUT", "timeout"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("NODE_FAIL", "dead"),
        ("FAILED", "dead"),
    ],
)
def test_slurm_decides_the_state_of_a_silent_run(run, tool, slurm, state):
    assert run(state="running", claim=SLURM, **{tool: f"7_1|{slurm}"})[0] == state


def test_a_silent_run_whose_job_slurm_does_not_know_is_dead(run):
    assert run(state="running", claim=SLURM)[0] == "dead"
    assert run(state="running", claim=SLURM, sigterm_at=1.0)[1].startswith("ended after SIGTERM")
    assert run(state="running", claim=SLURM, sacct="7_2|TIMEOUT")[0] == "dead"  # another's


def test_a_claim_holds_while_its_process_lives(run, tmp_path):
    me = this_process().to_json()
    assert run(state="queued", claim={"process": me})[0] == "queued"
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone = me | {"pid": dead.pid}
    assert run(state="queued", claim={"process": gone})[0] == "lost"
    assert run(state="queued", claim={"process": me | {"started": "1"}})[0] == "lost"  # pid reused
    elsewhere = gone | {"host": "elsewhere"}
    assert run(state="queued", claim={"process": elsewhere})[0] == "queued"
    assert run(state="queued", claim={"process": elsewhere}, silent_s=400)[0] == "lost"
    assert run(state="queued", claim={"process": elsewhere}, silent_s=-400)[0] == "lost"
    pool = tmp_path / "pool.json"
    assert run(state="queued", claim={"pool": str(pool)})[0] == "lost"
    pool.write_text(json.dumps(elsewhere))
    assert run(state="queued", claim={"pool": str(pool)})[0] == "queued"


def test_a_cancelled_run_is_cancelled_in_every_state_but_finished(run):
    me = {"process": this_process().to_json()}
    assert run(state="queued", claim=me, cancelled=True)[0] == "cancelled"
    assert run(state="running", cancelled=True)[0] == "cancelled"
    assert run(state="stopped", cancelled=True, reason="SIGINT")[0] == "cancelled"
    assert run(state="finished", cancelled=True)[0] == "finished"


def test_changed_code_is_reported_on_request(tmp_path):
    (tmp_path / "status.json").write_text(
        '{"state": "finished", "last_top1": 1.0, "best_top1": 1.0}'
    )
    (tmp_path / "meta.json").write_text('{"code": {"launch.py": "other", "nowhere.py": "gone"}}')
    assert look({"x": tmp_path})["x"].reason is None
    reason = look({"x": tmp_path}, with_code=True)["x"].reason
    assert reason == f"{OTHER_CODE}: launch.py, nowhere.py"


def test_slurm_is_queried_once_for_all_runs(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    calls = tmp_path / "calls"
    for name in ("squeue", "sacct"):
        file = tmp_path / "bin" / name
        file.write_text(f"#!/bin/sh\necho {name} >> {calls}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    paths: dict[str, Path | None] = {}
    for number in range(50):
        path = tmp_path / "runs" / f"a-{number}"
        path.mkdir(parents=True)
        claim = {"slurm": f"9_{number}"}
        (path / "status.json").write_text(json.dumps({"state": "queued", "claim": claim}))
        paths[str(number)] = path
    assert {state.state for state in look(paths).values()} == {"lost"}
    assert calls.read_text().split() == ["squeue", "sacct"]
