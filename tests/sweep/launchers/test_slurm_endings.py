"""Preemption signals at the worst moments of a job on a real Slurm: its start and its end."""

from __future__ import annotations

import pytest

from tests.launching import launch, status
from tests.sweep.asking import ask, only_sweep, runs, states, wait_until

pytestmark = pytest.mark.slow

# Read by every Python that starts in a job: the first one is preempted before it imported anything.
SITE = """
import os, signal, sys
mark = {mark!r}
if "SLURM_PROCID" in os.environ and not sys.flags.isolated and not os.path.exists(mark):
    open(mark, "w").close()
    os.kill(os.getpid(), signal.SIGUSR2)
"""
LATE = """
import atexit, os, signal
import torch
import crate.train.archive.curve

draw = crate.train.archive.curve.draw_curve


def preempt(*_):
    os.kill(os.getpid(), signal.SIGUSR2)


class AtTheVeryEnd:
    __del__ = preempt


def draw_curve(*arguments):
    preempt()
    draw(*arguments)


class Late(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 10)
        crate.train.archive.curve.draw_curve = draw_curve
        atexit.register(preempt)
        signal.late = AtTheVeryEnd()

    def forward(self, images):
        return super().forward(images.flatten(1))
"""


def test_a_preemption_at_the_start_requeues_and_one_at_the_end_changes_nothing(cluster, tmp_path):
    outputs, mine, site = (tmp_path / name for name in ("out", "mine", "site"))
    (mine / "model").mkdir(parents=True)
    site.mkdir()
    (mine / "late.py").write_text(LATE)
    (mine / "model" / "late.yaml").write_text("_target_: late.Late\n")
    (site / "sitecustomize.py").write_text(SITE.format(mark=str(tmp_path / "preempted")))
    words = ("-m", f"--config-dir={mine}", "model=late", "train.epochs=1", "data.workers=0")
    words += ("schedule.warmup_epochs=0", "train.batch_size=256", f"outputs={outputs}", "seed=0")
    done = launch(
        *(*words, "hydra/launcher=slurm", "name=late"),
        **cluster.environment | {"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done
    (run,) = runs(outputs)
    job = status(run)["claim"]["slurm"]
    wait_until(lambda: (tmp_path / "preempted").exists())
    wait_until(lambda: cluster.states().get(job) == "PENDING")
    assert states(outputs, "late", **cluster.environment) == {"0": "queued"}
    # Not at once: for a second, the node refuses a job whose earlier start was ended.
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    wait_until(lambda: cluster.states().get(job) not in ("PENDING", "RUNNING", "COMPLETING"))
    assert cluster.states()[job] == cluster.accounted(job) == "COMPLETED"
    assert states(outputs, "late", **cluster.environment) == {"0": "finished"}
    assert status(run)["attempts"] == 1


def test_a_job_that_fails_before_python_starts_is_failed_in_status_too(cluster, odd, tmp_path):
    words = ("-m", *odd, f"outputs={tmp_path}", "hydra/launcher=slurm", "seed=0")
    done = launch(*words, "hydra.launcher.setup=['exit 3']", **cluster.environment)
    assert done.returncode == 0, done
    name = only_sweep(tmp_path)
    for environment in (cluster.environment, cluster.without_accounting):
        wait_until(lambda: states(tmp_path, name, **environment) == {"0": "failed"})  # noqa: B023
        shown = ask(tmp_path, "status", name, "--json", **environment).stdout
        assert "ended as FAILED with exit code 3 before the run began" in shown
