"""Sweeps on a real Slurm of two nodes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crate.paths import CHECKOUT
from crate.run.records import read_json
from tests.launching import TINY, launch, launch_ranks, metrics, start, status
from tests.sweep.asking import ask, by_seed, only_sweep, runs, states, wait_until

pytestmark = pytest.mark.slow
SLURM = ("hydra/launcher=slurm", "hydra.launcher.wait=true")
ONE = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "data.workers=0")


def test_slurm_local_and_single_runs_agree(cluster, tmp_path):
    slurm, local, single = (tmp_path / name for name in ("on slurm", "local", "single"))
    same = [f"hydra.launcher.{each}" for each in ("slots=2", "threads=1", "timeout_min=20")]
    words = ("-m", *ONE, *same, "seed=0,1,2", f"outputs={slurm}")
    done = launch(*words, *SLURM, **cluster.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hydra/launcher=slurm ignores slots\n" in done.stdout
    assert "0 done, 0 at work already, 3 to run, as Slurm job" in done.stdout
    assert set(states(slurm, "seed", **cluster.environment).values()) == {"finished"}
    jobs = [status(run)["claim"]["slurm"] for run in runs(slurm)]
    assert len(set(jobs)) == 3 and {cluster.accounted(job) for job in jobs} == {"COMPLETED"}
    done = launch("-m", *ONE, *same, "seed=0,1,2", f"outputs={local}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hydra/launcher=local ignores timeout_min\n" in done.stdout
    for seed in (0, 1, 2):
        assert launch(*ONE, f"seed={seed}", f"outputs={single}").returncode == 0
    assert by_seed(slurm) == by_seed(local) == by_seed(single)
    again = launch("-m", *ONE, "seed=2,1,0", f"outputs={slurm}", *SLURM, **cluster.environment)
    assert "3 done, 0 at work already, 0 to run" in again.stdout
    results = ask(slurm, "results", "seed", "--json", **cluster.environment)
    (row,) = json.loads(results.stdout)
    last = [rows[-1]["val/top1"] for rows in by_seed(single).values()]
    assert row["n"] == 3 and row["last"] == pytest.approx(sum(last) / 3)


def test_edits_while_jobs_wait_change_nothing_in_them(cluster, tmp_path):
    checkout, outputs = tmp_path / "checkout", tmp_path / "out"
    ignored = shutil.ignore_patterns(".venv", "outputs", ".git", "__pycache__")
    shutil.copytree(CHECKOUT, checkout, ignore=ignored)
    words = [*ONE, "seed=0,1", f"outputs={outputs}", "hydra/launcher=slurm"]
    hold = "+hydra.launcher.additional_parameters.hold=true"
    done = subprocess.run(
        [sys.executable, checkout / "launch.py", "-m", *words, hold],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | cluster.environment,
    )
    assert done.returncode == 0 and "2 to run, as Slurm job" in done.stdout, done.stderr
    for file, old, new in (
        ("conf/model/crate_nano.yaml", "global_pool: avg", "global_pool: token"),
        ("crate/model/ista.py", "relu", "sigmoid"),
        ("crate/train/loop.py", "def train(", "def trained("),
        ("launch.py", "import hydra\n", "raise SystemExit('edited')\n"),
    ):
        text = (checkout / file).read_text()
        assert old in text, file
        (checkout / file).write_text(text.replace(old, new))
    cluster.release(outputs)
    wait_until(lambda: set(states(outputs, "seed", **cluster.environment).values()) == {"finished"})
    single = tmp_path / "single"
    for seed in (0, 1):
        assert launch(*ONE, f"seed={seed}", f"outputs={single}").returncode == 0
    assert by_seed(outputs) == by_seed(single)
    code = [read_json(run / "meta.json")["code"] for run in (*runs(outputs), *runs(single))]
    assert "crate/model/ista.py" in code[0] and code == code[:1] * 4


def test_every_way_to_end_has_its_state_and_retry_finishes_the_other_runs(cluster, odd, tmp_path):
    outputs = tmp_path / "out"
    modes = ("fine", "error", "kill", "exit", "memory", "sleep")
    words = ("-m", *odd, f"model.kwargs.mode={','.join(modes)}", f"outputs={outputs}")
    done = launch(*words, "hydra/launcher=slurm", **cluster.environment)
    assert done.returncode == 0 and "6 to run, as Slurm job" in done.stdout, done.stderr
    assert "outside of the checkout" in done.stdout and "odd.py" in done.stdout

    def now(**environment):
        return states(outputs, "mode", "model.kwargs.mode", **cluster.environment | environment)

    others = set(modes) - {"sleep"}
    at_work = ("queued", "running", "stalled")
    wait_until(lambda: not any(now()[mode] in at_work for mode in others))
    wait_until(lambda: now()["sleep"] == "running")
    jobs = {mode: status(run)["claim"]["slurm"] for mode in modes for run in _of(outputs, mode)}
    cluster.run("scancel", jobs["sleep"])
    wait_until(lambda: now()["sleep"] not in at_work)
    expected = {
        "fine": "finished",
        "error": "failed",
        "kill": "dead",
        "exit": "failed",
        "memory": "failed",
        "sleep": "cancelled",
    }
    assert now() == now(**cluster.without_accounting) == expected
    in_slurm = {mode: cluster.accounted(job) for mode, job in jobs.items()}
    failed = dict.fromkeys(("error", "kill", "exit", "memory"), "FAILED")
    assert in_slurm == failed | {"fine": "COMPLETED", "sleep": "CANCELLED"}
    shown = ask(outputs, "status", "mode", "mode=error", **cluster.environment)
    assert shown.returncode == 1 and 'RuntimeError("boom at the third step")' in shown.stdout
    logs = ask(outputs, "logs", "mode", "mode=error", **cluster.environment).stdout
    assert logs.count("RuntimeError: boom at the third step") >= 2  # its log, and its job's
    assert "sys.exit(3)" in status(*_of(outputs, "exit"))["reason"]
    assert "alloc" in status(*_of(outputs, "memory"))["reason"]

    (tmp_path / "mended").touch()
    again = ask(outputs, "retry", "mode", **cluster.environment)
    assert again.returncode == 0 and "5 to run again, as Slurm job" in again.stdout, again.stderr
    wait_until(lambda: set(now().values()) == {"finished"})
    attempts = {mode: status(run)["attempts"] for mode in modes for run in _of(outputs, mode)}
    assert attempts == dict.fromkeys(modes, 2) | {"fine": 1}


def _of(outputs: Path, mode: str) -> list[Path]:
    return [run for run in runs(outputs) if f"mode_{mode}-" in run.name]


def test_a_time_limit_has_its_state(cluster, odd, tmp_path):
    outputs = tmp_path / "out"
    done = launch(
        *("-m", *odd, "model.kwargs.mode=sleep,slow", f"outputs={outputs}"),
        *("hydra/launcher=slurm", "hydra.launcher.timeout_min=1"),
        *("hydra.launcher.signal_delay_s=20", "hydra.launcher.max_num_timeout=0"),
        "train.epochs=10000",
        **cluster.environment,
    )
    assert done.returncode == 0, done.stderr

    def now(**environment):
        return states(outputs, "mode", "model.kwargs.mode", **cluster.environment | environment)

    # One hangs through the signal and is killed; the other saves, and may not come back.
    wait_until(lambda: "not requeued" in str(status(*_of(outputs, "slow")).get("reason")), 240)
    at_work = ("queued", "running", "stalled")  # stalled while Slurm ends its job
    wait_until(lambda: now()["sleep"] not in at_work, timeout_s=240)
    assert now() == now(**cluster.without_accounting) == {"sleep": "timeout", "slow": "failed"}
    assert cluster.accounted(status(*_of(outputs, "sleep"))["claim"]["slurm"]) == "TIMEOUT"


def test_a_launcher_that_dies_before_sbatch_loses_nothing(cluster, tmp_path):
    outputs = tmp_path / "out"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    words = ("-m", *ONE, "seed=0,1", f"outputs={outputs}", *SLURM)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    dying = start(*words, **cluster.environment, PATH=path)
    wait_until(
        lambda: (outputs / "sweeps").is_dir() and list((outputs / "sweeps").glob("*/jobs/*"))
    )
    name = only_sweep(outputs)
    assert states(outputs, name, **cluster.environment) == {"0": "queued", "1": "queued"}
    dying.send_signal(signal.SIGKILL)
    wait_until(lambda: not dying.is_running())
    assert states(outputs, name, **cluster.environment) == {"0": "lost", "1": "lost"}
    done = launch(*words, **cluster.environment)
    assert done.returncode == 0 and "2 to run" in done.stdout, done.stderr
    assert states(outputs, name, **cluster.environment) == {"0": "finished", "1": "finished"}


def test_ctrl_c_while_waiting_leaves_the_jobs_alone_and_names_them(cluster, odd, tmp_path):
    outputs = tmp_path / "out"
    words = ("-m", *odd, "model.kwargs.mode=slow", "seed=0,1", f"outputs={outputs}", *SLURM)
    waiting = start(*words, **cluster.environment)
    wait_until(lambda: "2 to run, as Slurm job" in waiting.out.read_text())
    waiting.send_signal(signal.SIGINT)
    done = waiting.finish(60)
    assert done.returncode == 130, done
    jobs = [status(run)["claim"]["slurm"] for run in runs(outputs)]
    array = jobs[0].partition("_")[0]
    assert f"no longer waiting: 0 ended, 2 go on, as Slurm job {array}\n" in done.stdout, done
    assert len(jobs) == 2 and all(cluster.states()[job] in ("PENDING", "RUNNING") for job in jobs)
    (tmp_path / "mended").touch()
    wait_until(lambda: set(states(outputs, "seed", **cluster.environment).values()) == {"finished"})


def test_cancel_ends_the_jobs_of_its_own_sweep_alone(cluster, odd, tmp_path):
    outputs = tmp_path / "out"
    words = ("-m", *odd, "model.kwargs.mode=slow", f"outputs={outputs}", "hydra/launcher=slurm")
    words += ("train.epochs=1000",)
    assert launch(*words, "seed=0,1", "name=first", **cluster.environment).returncode == 0
    joined = launch(*words, "seed=1,2", "name=second", **cluster.environment)
    assert "1 at work already, 1 to run" in joined.stdout, joined
    done = ask(outputs, "cancel", "second", answer="y\n", **cluster.environment)
    assert done.returncode == 0 and done.stdout.count("left alone, started elsewhere") == 1, done
    wait_until(lambda: states(outputs, "second", **cluster.environment)["2"] == "cancelled")
    assert states(outputs, "first", **cluster.environment)["1"] in ("queued", "running")
    assert ask(outputs, "cancel", "first", "--yes", **cluster.environment).returncode == 0
    ended = {"0": "cancelled", "1": "cancelled"}
    wait_until(lambda: states(outputs, "first", **cluster.environment) == ended)


def test_two_launches_at_once_train_nothing_twice(cluster, tmp_path):
    words = ("-m", *ONE, f"outputs={tmp_path}", *SLURM)
    both = [start(*words, f"seed={seeds}", **cluster.environment) for seeds in ("0,1,2", "1,2,3")]
    done = [process.finish() for process in both]
    assert [each.returncode for each in done] == [0, 0], done
    counts = [next(s for s in each.stdout.splitlines() if " to run" in s) for each in done]
    assert sum(int(line.partition(" to run")[0].split()[-1]) for line in counts) == 4, counts
    assert any("2 at work already" in line for line in counts), counts
    waited = "waiting for another command that works at the sweeps of"
    assert sum(waited in each.stdout for each in done) <= 1
    assert [status(run)["attempts"] for run in runs(tmp_path)] == [1, 1, 1, 1]
    again = launch(
        "-m", *ONE, f"outputs={tmp_path}", "model.sparsity=0.1,0.5", *SLURM, **cluster.environment
    )
    assert "1 done, 0 at work already, 1 to run" in again.stdout, again.stdout
    for run in runs(tmp_path):
        meta = json.loads((run / "meta.json").read_text())
        (run / "meta.json").write_text(json.dumps(meta | {"code": {"launch.py": "other"}}))
    refused = launch(*words, "seed=0,1", **cluster.environment)
    assert refused.returncode == 1
    assert "2 finished runs were trained by other code" in refused.stderr
    accepted = launch(*words, "seed=0,1", "other_code=accept", **cluster.environment)
    assert accepted.returncode == 0 and "2 done" in accepted.stdout


def test_odd_names_reach_slurm_and_come_back(cluster, tmp_path):
    outputs = tmp_path / "out put's"
    done = launch(
        *("-m", *ONE, "seed=0,1", f"outputs='{str(outputs).replace(chr(39), chr(92) + chr(39))}'"),
        "name='it\\'s \"odd\" & mine'",
        *SLURM,
        **cluster.environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    current = states(outputs, 'it\'s "odd" & mine', **cluster.environment)
    assert current == {"0": "finished", "1": "finished"}
    assert (outputs / "sweeps" / only_sweep(outputs) / "manifest.json").exists()


def test_a_submission_from_inside_a_job(cluster, tmp_path):
    outputs, script = tmp_path / "out", tmp_path / "inner.sh"
    words = [sys.executable, str(CHECKOUT / "launch.py"), "-m", *ONE, "seed=0,1"]
    words += [f"outputs={outputs}", "hydra/launcher=slurm"]
    script.write_text("#!/bin/sh\n" + " ".join(f"'{word}'" for word in words) + "\n")
    submit = ("sbatch", "--wait", "-N1", "-n2", f"--output={tmp_path}/output", str(script))
    assert cluster.run(*submit) is not None, (tmp_path / "output").read_text()
    wait_until(lambda: set(states(outputs, "seed", **cluster.environment).values()) == {"finished"})
    assert {read_json(run / "meta.json")["ranks"] for run in runs(outputs)} == {1}


def test_a_preempted_run_of_two_ranks_comes_back_bit_equal(cluster, tmp_path):
    outputs, whole = tmp_path / "out", tmp_path / "whole"
    words = (*TINY, "train.epochs=24", "schedule.warmup_epochs=0", "data.workers=0")
    words += ("train.log_every_steps=1",)
    done = launch(
        *("-m", *words, "seed=0", f"outputs={outputs}", "hydra/launcher=slurm"),
        *("hydra.launcher.tasks_per_node=2", "hydra.launcher.cpus_per_task=1"),
        **cluster.environment,
    )
    assert done.returncode == 0, done.stderr
    name = only_sweep(outputs)
    wait_until(lambda: runs(outputs) and status(runs(outputs)[0]).get("step", 0) > 5)
    (run,) = runs(outputs)
    job = status(run)["claim"]["slurm"]
    urgent = ("sbatch", "-p", "urgent", "-N2", "--exclusive", "--wrap", "sleep 1")
    assert cluster.run(*urgent, f"--output={tmp_path}/urgent") is not None
    wait_until(lambda: "stopped" in (run / "status.json").read_text())
    assert "SIGUSR2" in status(run)["reason"]
    assert states(outputs, name, **cluster.environment) == {"0": "queued"}
    wait_until(lambda: cluster.states().get(job) == "PENDING")
    # Not at once: for a second, the node refuses a job whose earlier start was ended.
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    wait_until(lambda: status(run)["state"] == "finished")
    assert status(run)["attempts"] == 2 and read_json(run / "meta.json")["ranks"] == 2
    for each in launch_ranks(*words, f"outputs={whole}"):
        assert each.returncode == 0, each.stderr
    assert metrics(run) == metrics(runs(whole)[0])
