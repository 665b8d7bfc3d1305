"""The status and the exit code of a run agree with Slurm, whatever ends the run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from crate.config.check import typed
from crate.data.completion import complete
from crate.paths import CHECKOUT
from crate.ranks import Ranks
from crate.run.folder import RunFolder
from crate.run.ownership import owner_of
from crate.sweep import hold_signals
from crate.sweep.launchers.exit_mark import mark_lines
from crate.sweep.launchers.slurm_submit import JOB
from crate.tasks.identity import Run
from crate.tasks.train import Training
from crate.train.signals import Signals
from tests.launching import launch, run_folder, status

NET = '''
import os, shutil, signal
import torch
import crate.run.ownership, crate.train.archive.curve

crate.run.ownership.BEAT_S = 0.05
STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGINT)
draw = crate.train.archive.curve.draw_curve


def stop():
    for number in STOPS:
        os.kill(os.getpid(), number)


def draw_curve(*arguments):
    stop()
    draw(*arguments)


class Tracker:
    """Its end is the last call before the run's folder is given back."""

    def start(self, *arguments):
        pass

    log = start

    def finish(self, state):
        if crate.train.archive.curve.draw_curve is draw_curve:
            for number in STOPS[:-1]:  # a second Ctrl-C leaves at once
                os.kill(os.getpid(), number)


class Net(torch.nn.Linear):
    def __init__(self, mode, outputs):
        super().__init__(256, 10)
        self.mode, self.outputs, self.steps = mode, outputs, 0
        if mode == "stopped at the end":
            crate.train.archive.curve.draw_curve = draw_curve
            signal.signal(signal.SIGUSR2, self.requeue)

    def requeue(self, *arguments):
        open(self.outputs + "/requeued", "w").close()
        os._exit(7)

    def forward(self, images):
        self.steps += self.training
        if self.steps == 3 and self.mode.startswith("removed"):
            folder = self.outputs + ("/runs" if self.mode == "removed run" else "")
            while os.path.exists(folder):  # the heartbeat may be writing to it
                shutil.rmtree(folder, ignore_errors=True)
        return super().forward(images.flatten(1))
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Return the arguments that choose the model `net`, which lies in a folder for --config-dir."""
    mine = tmp_path_factory.mktemp("mine")
    (mine / "nets.py").write_text(NET)
    for group, text in (
        ("model", "_target_: nets.Net\nkwargs: {mode: '', outputs: '${outputs}'}\n"),
        ("tracker", "_target_: nets.Tracker\n"),
    ):
        (mine / group).mkdir()
        (mine / group / "net.yaml").write_text(text)
    few = ("train.batch_size=256", "data.workers=0", "schedule.warmup_epochs=0")
    return f"--config-dir={mine}", "model=net", "tracker=net", *few


def test_a_run_that_made_its_last_step_finishes_whatever_signals_come(own, tmp_path):
    mode = "model.kwargs.mode='stopped at the end'"
    done = launch(*own, mode, "train.epochs=1", f"outputs={tmp_path}")
    assert done.returncode == 0 and "finishing; Ctrl-C again leaves at once" in done.stderr, done
    folder = run_folder(tmp_path)
    assert status(folder)["state"] == "finished" and (folder / "curve.png").exists()
    assert not (tmp_path / "requeued").exists() and owner_of(folder) is None


@pytest.mark.parametrize("mode", ["removed run", "removed outputs"])
def test_a_run_whose_folder_was_removed_logs_it_ends_and_writes_no_more(own, tmp_path, mode):
    outputs = tmp_path / "outputs"
    done = launch(*own, f"model.kwargs.mode='{mode}'", "train.epochs=9999", f"outputs={outputs}")
    assert done.returncode == 1 and "was removed or renamed while its run was at work" in (
        done.stderr
    ), done
    assert "taken over" not in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_run_that_another_process_finished_meanwhile_is_not_opened_again(
    composed, tmp_path, caplog
):
    cfg = composed("model=crate_nano", f"outputs={tmp_path}")
    run = Run(typed(cfg, complete(cfg)), "0123456789ab", "label", [])
    training = Training(run, Ranks(), Signals())
    folder = RunFolder.create(str(tmp_path), "label", "0123456789ab")
    reached = {"last": 60.0, "best": 62.5, "best_step": 46, "test": {}}
    folder.update_status(state="finished", best_chosen_on="the evaluation split", **reached)
    assert training._take() == (folder.path, 62.5)
    assert owner_of(folder.path) is None and folder.status.state == "finished"
    folder.update_status(state="running")
    assert training._take() == (folder.path, None) and owner_of(folder.path) is not None


def test_a_preemption_during_start_up_reaches_the_job():
    code = (
        "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('imports');"
        "signal.signal(signal.SIGUSR2, lambda *_: print('requeued'));"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2}); print('trains')"
    )
    command = [sys.executable, "-IS", hold_signals.__file__, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.stdout.split() == ["imports", "requeued", "trains"] and done.returncode == 0


@pytest.mark.parametrize(
    ("script", "exit_code"),
    [("true", "0"), ("exit 3", "3"), ("kill -TERM $$; true", "143"), ("kill -KILL $$", "")],
)
def test_a_jobs_script_notes_its_exit_code_under_the_jobs_name(tmp_path, script, exit_code):
    jobs = tmp_path / "with space"
    jobs.mkdir()
    text = "\n".join([*mark_lines(jobs, JOB), script])
    for ids, name in (
        ({"SLURM_JOB_ID": "12"}, "12"),
        ({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}, "7_1"),
    ):
        env = {key: each for key, each in os.environ.items() if not key.startswith("SLURM_")}
        subprocess.run(["bash", "-c", text], env=env | ids, stderr=subprocess.DEVNULL)
        assert (jobs / f"{name}.exit").read_text().strip() == exit_code


def test_a_cancel_and_the_interrupt_it_sends_are_one_request():
    script = """
import os, signal
from crate.train.signals import Signals

with Signals() as signals:
    signals.cancel()  # as the heartbeat does, which may see the mark before the signal comes
    os.kill(os.getpid(), signal.SIGINT)
    print(signals.exit_code, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("still here")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("130\n", 130), done.stderr
