"""The local pool: slots, shares, signals, and nothing trained twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from crate.errors import UserError
from crate.run.records import read_json
from crate.sweep.launchers import slot
from crate.sweep.launchers.shares import environments
from crate.sweep.options import Local
from tests.launching import TINY, command, launch, start
from tests.sweep.asking import ask, by_seed, runs, states, wait_until

ONE = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "data.workers=0")
SLOTS = ("hydra.launcher.slots=2", "hydra.launcher.threads=1")


def test_a_worker_trains_as_a_fresh_process_does(tmp_path):
    pool, single = tmp_path / "pool", tmp_path / "single"
    words = (*ONE, "data.workers=1", "augment=flip_crop", "train.log_every_steps=1")
    done = launch("-m", *words, "seed=0,1", f"outputs={pool}", "hydra.launcher.slots=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("/2  finished  seed=") == 2
    for seed in (0, 1):
        assert launch(*words, f"seed={seed}", f"outputs={single}").returncode == 0
    assert by_seed(pool) == by_seed(single)
    (log,) = pool.glob("sweeps/*/jobs/workers.out")
    assert not log.read_text()


def test_ctrl_c_saves_every_run_and_the_same_command_resumes_them(odd, tmp_path):
    outputs = tmp_path / "out"
    words = ("-m", *odd, "model.kwargs.mode=slow", "seed=0,1,2", f"outputs={outputs}")
    pool = start(*words, *SLOTS, "train.epochs=1000")
    wait_until(lambda: sum(_step(run) > 4 for run in (outputs / "runs").glob("*")) == 2)
    current = states(outputs, "seed")
    assert current == {"0": "running", "1": "running", "2": "queued"}
    pool.send_signal(signal.SIGINT)
    done = pool.finish(60)
    assert done.returncode == 130 and "the same command goes on" in done.stdout, done
    assert "2 saved" in done.stdout and "1 not begun" in done.stdout
    assert "seed=" not in done.stdout  # one line for all runs
    assert set(states(outputs, "seed").values()) == {"stopped"}
    assert sum(bool(list(run.glob("checkpoints/step-*.pt"))) for run in runs(outputs)) == 2
    assert "Traceback" not in done.stdout + done.stderr


def _step(run: Path) -> int:
    return read_json(run / "status.json").get("step", 0)


@pytest.mark.slow
def test_a_killed_pool_leaves_its_runs_running_and_loses_the_queue(odd, tmp_path):
    outputs = tmp_path / "out"
    words = ("-m", *odd, "model.kwargs.mode=slow", f"outputs={outputs}", "train.epochs=10")
    pool = start(*words, "seed=0,1,2", *SLOTS)
    wait_until(lambda: sum(_step(run) > 3 for run in (outputs / "runs").glob("*")) == 2)
    pool.send_signal(signal.SIGKILL)
    wait_until(lambda: not pool.is_running())
    current = states(outputs, "seed")
    assert current["2"] == "lost" and set(current.values()) <= {"lost", "running", "finished"}
    wait_until(lambda: states(outputs, "seed") == {"0": "finished", "1": "finished", "2": "lost"})
    again = ask(outputs, "retry", "seed", "--lost")
    assert again.returncode == 0 and "1 to run again" in again.stdout, again.stderr
    assert set(states(outputs, "seed").values()) == {"finished"}


def test_a_worker_that_cannot_start_fails_its_runs_and_says_where(tmp_path):
    words = ("-m", *ONE, "seed=0,1", f"outputs={tmp_path}")
    done = launch(*words, PYTHONHOME="/nonexistent")
    assert done.returncode == 1 and "before the run began (exit code 1)" in done.stdout, done
    assert set(states(tmp_path, "seed").values()) == {"failed"}
    assert "nonexistent" in ask(tmp_path, "logs", "seed", "seed=0").stdout
    assert launch(*words).returncode == 0


# How a worker may end, which reads a signature first; `sleep` stands for a process that it started,
# such as one of a data loader, which holds the pipe of its answers open.
ENDS = {
    "is dead before it is asked": "exit",
    "exits": "read; exit 3",
    "is killed": "read; kill -KILL $$",
    "receives SIGTERM": "read; kill -TERM $$",
    "is killed, and leaves a process behind": "read; sleep 1000 & kill -KILL $$",
    "closes its pipe": "read; exec sleep 1000 >&-",
}


def _slot(tmp_path, monkeypatch, script: str) -> slot.Slot:
    monkeypatch.setattr(slot, "EXIT_S", 1.0)
    one = slot.Slot(SimpleNamespace(path=tmp_path, jobs=tmp_path), {})
    one._command = ["bash", "-c", script]
    return one


@pytest.mark.parametrize("end", ENDS)
def test_a_worker_that_ends_in_any_way_frees_its_slot(end, tmp_path, monkeypatch):
    one = _slot(tmp_path, monkeypatch, ENDS[end])
    one.begin("0123456789ab", tmp_path)
    group = one.process.pid
    wait_until(lambda: one.update() is not None, 30)
    assert one.signature is None and one.process is None
    wait_until(lambda: not _lives(group), 10)  # and nothing is left of it
    one.begin("0123456789ab", tmp_path)
    assert one.is_fresh
    one.signature = None
    one.end()


def test_a_worker_that_hangs_at_its_exit_is_killed(tmp_path, monkeypatch):
    script = "while read; do echo $REPLY 0; done; exec sleep 1000"
    one = _slot(tmp_path, monkeypatch, script)
    one.begin("0123456789ab", tmp_path)
    wait_until(lambda: one.update() is None and one.signature is None, 30)
    group = one.process.pid
    one.end()
    assert one.process is None
    wait_until(lambda: not _lives(group), 10)


def test_a_snapshot_that_is_gone_is_named(tmp_path, monkeypatch):
    one = _slot(tmp_path, monkeypatch, "exit")
    with pytest.raises(UserError, match=f"cannot start a worker in {tmp_path}/gone"):
        one.begin("0123456789ab", tmp_path / "gone")
    assert one.signature is None
    one.end()


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_that_dies_does_not_end_the_others(odd, tmp_path):
    outputs = tmp_path / "out"
    modes = "early,orphan,term,error,exit,fine"
    words = ("-m", *odd, f"model.kwargs.mode={modes}", f"outputs={outputs}")
    done = launch(*words, "hydra.launcher.slots=1")
    assert done.returncode == 1 and "5 of 6 runs have not finished" in done.stderr, done
    assert "Traceback" not in done.stderr
    assert states(outputs, "mode", "model.kwargs.mode") == {
        "early": "stopped",
        "orphan": "dead",
        "term": "stopped",
        "error": "failed",
        "exit": "failed",
        "fine": "finished",
    }
    out = ask(outputs, "logs", "mode", "mode=exit")
    assert out.returncode == 0 and "==> mode=exit  (failed)" in out.stdout
    failed = ask(outputs, "status", "mode")
    assert failed.returncode == 1 and "tracebacks: python -m crate.sweep" in failed.stdout


@pytest.mark.slow
def test_cancel_ends_what_it_names_and_nothing_else(odd, tmp_path):
    outputs = tmp_path / "out"
    words = ("-m", *odd, "model.kwargs.mode=slow", f"outputs={outputs}", "train.epochs=1000")
    pool = start(*words, "seed=0,1,2,3", *SLOTS)
    wait_until(lambda: sum(_step(run) > 3 for run in (outputs / "runs").glob("*")) == 2)
    refused = ask(outputs, "cancel", "seed", "seed=0", answer="n\n")
    assert refused.returncode == 0 and "nothing was ended" in refused.stdout
    for key in ("seed=2", "seed=0"):  # one that waits, one that runs
        assert ask(outputs, "cancel", "seed", key, answer="y\n").returncode == 0
    wait_until(lambda: states(outputs, "seed")["0"] == "cancelled")
    wait_until(lambda: states(outputs, "seed")["3"] == "running")
    current = states(outputs, "seed")
    assert current == {"0": "cancelled", "1": "running", "2": "cancelled", "3": "running"}
    (run,) = (run for run in runs(outputs) if "seed3" in run.name)
    (run / "cancelled.json").touch()  # as a cancel on another machine leaves it
    wait_until(lambda: states(outputs, "seed")["3"] == "cancelled")
    pool.send_signal(signal.SIGTERM)
    assert pool.finish(60).returncode == 143
    assert set(states(outputs, "seed").values()) == {"cancelled", "stopped"}


def test_the_slots_share_the_machine(monkeypatch):
    monkeypatch.setenv("CRATE_CORES", "8")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def shares(number=100, on_cpu=False, **options):
        return environments(Local("", **options), number, on_cpu=on_cpu)

    assert [share["OMP_NUM_THREADS"] for share in shares(slots=3)] == ["2", "2", "2"]
    assert len(shares(threads=3)) == 2 and shares(threads=3)[0]["CRATE_CORES"] == "3"
    assert len(shares(number=2)) == 2 and shares(number=2)[0]["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert [share["OMP_NUM_THREADS"] for share in shares()] == ["4", "4"]
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares()] == ["5", "7"]
    four = shares(runs_per_gpu=2)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in four] == ["5", "7", "5", "7"]
    assert four[0]["OMP_NUM_THREADS"] == "2"
    assert len(shares(slots=1)) == 1 and len(shares(slots=64)) == 2
    assert all("CUDA_VISIBLE_DEVICES" not in share for share in shares(on_cpu=True))


@pytest.fixture
def outputs(tmp_path):
    """Return a folder of outputs; at the end, cancel the runs that a failed test left there."""
    yield tmp_path / "out"
    if list(tmp_path.glob("out/sweeps/*/pool-*.json")):
        ask(tmp_path / "out", "cancel", "seed", "--yes")
        wait_until(lambda: not list(tmp_path.glob("out/sweeps/*/pool-*.json")))


def test_a_pool_in_the_background_outlives_its_terminal(odd, outputs):
    words = ("-m", *odd, "model.kwargs.mode=slow", "seed=0,1,2", f"outputs={outputs}")
    words += ("hydra.launcher.slots=1", "train.epochs=1000", "hydra.launcher.wait=false")
    # A terminal that closes, and a script's `&`, which has its commands ignore Ctrl-C.
    terminal = f"trap '' INT; exec {sys.executable} -c 'import pty, sys; pty.spawn(sys.argv[1:])'"
    done = subprocess.run(
        ["bash", "-c", f'{terminal} "$@"', "bash", *command(*words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pool = _pool_in_the_background(done.stdout)
    wait_until(lambda: states(outputs, "seed") == {"0": "running", "1": "queued", "2": "queued"})
    assert os.getsid(pool) == pool
    joined = launch(*words)
    assert joined.returncode == 0 and "3 at work already, 0 to run" in joined.stdout, joined
    assert "runs them in the background" not in joined.stdout
    assert ask(outputs, "cancel", "seed", "seed=0", "--yes").returncode == 0
    wait_until(lambda: states(outputs, "seed")["1"] == "running")
    os.kill(pool, signal.SIGTERM)
    wait_until(lambda: not _lives(pool))
    assert states(outputs, "seed") == {"0": "cancelled", "1": "stopped", "2": "stopped"}
    again = ask(outputs, "retry", "seed", "seed=2")
    assert again.returncode == 0 and "1 to run again" in again.stdout, again.stderr
    pool = _pool_in_the_background(again.stdout)
    wait_until(lambda: states(outputs, "seed")["2"] == "running")
    assert ask(outputs, "cancel", "seed", "--yes").returncode == 0
    wait_until(lambda: not _lives(pool))
    assert states(outputs, "seed") == {"0": "cancelled", "1": "stopped", "2": "cancelled"}
    assert not list(outputs.glob("sweeps/*/pool-*.json"))
    logs = [file.read_text() for file in outputs.glob("sweeps/*/jobs/pool-*.out")]
    assert sum("python -m crate.sweep results seed" in log for log in logs) == 1  # at its end


def _pool_in_the_background(stdout: str) -> int:
    (pool,) = re.findall(r"process (\d+) runs them in the background", stdout)
    return int(pool)
