"""A run that is killed and started again is the same run."""

from __future__ import annotations

import random
import re
import signal
import time

import pytest
import torch

from tests.launching import (
    TINY,
    launch,
    logged_step,
    metrics,
    run,
    run_folder,
    start,
    status,
    wait_for_step,
)

STEPS_PER_EPOCH = 23
EPOCHS = 10
RUN = (
    *TINY,
    f"train.epochs={EPOCHS}",
    "augment=flip_crop",
    "train.accumulation_steps=3",
    "train.checkpoint_every_steps=7",
    "train.log_every_steps=1",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Return the folder of the uninterrupted run, from a separate interpreter."""
    outputs = tmp_path_factory.mktemp("reference")
    done = run(*RUN, f"outputs={outputs}")
    assert done.returncode == 0, done.stdout + done.stderr
    return run_folder(outputs)


def final_state(folder):
    file = folder / "checkpoints" / f"step-{STEPS_PER_EPOCH * EPOCHS:08d}.pt"
    return torch.load(file, weights_only=True)


def assert_same_run(folder, reference) -> None:
    """Assert that weights, optimizer, generators and every metric are bit-identical."""
    ours, theirs = final_state(folder), final_state(reference)
    for name, weight in theirs["model"].items():
        assert torch.equal(ours["model"][name], weight), name
    for index, slots in theirs["optimizer"]["state"].items():
        for name, value in slots.items():
            assert torch.equal(ours["optimizer"]["state"][index][name], value), (index, name)
    for own, their in zip(ours["ranks"], theirs["ranks"], strict=True):
        assert torch.equal(own["generators"]["torch"], their["generators"]["torch"])
    assert metrics(folder) == metrics(reference)
    train_steps = [row["step"] for row in metrics(folder) if "train/loss" in row]
    assert train_steps == list(range(1, STEPS_PER_EPOCH * EPOCHS + 1))
    best = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    best_reference = torch.load(reference / "checkpoints" / "best.pt", weights_only=True)
    assert best["step"] == best_reference["step"] and best["metrics"] == best_reference["metrics"]


def test_a_run_killed_at_20_random_steps_is_bit_equal_to_an_uninterrupted_one(tmp_path, reference):
    outputs = tmp_path / "with space"
    random_steps = random.Random(0)
    # Twenty kills spread over the run, some in the same stretch between two checkpoints.
    kills = sorted(random_steps.sample(range(1, STEPS_PER_EPOCH * EPOCHS - 12), 20))
    resumed_from = []
    for kill in kills:
        process = start(*RUN, f"outputs={outputs}")
        wait_for_step(process, outputs, kill)
        process.send_signal(signal.SIGKILL)
        done = process.finish()
        assert done.returncode == -signal.SIGKILL, done
        match = re.search(r"going on at step (\d+)", done.stdout)
        resumed_from.append(int(match[1]) if match else 0)
    done = launch(*RUN, f"outputs={outputs}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same_run(run_folder(outputs), reference)
    assert sum(step > 0 for step in resumed_from) >= 15, resumed_from
    assert any(step % STEPS_PER_EPOCH for step in resumed_from), resumed_from
    assert status(run_folder(outputs))["attempts"] == 21


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_saves_at_its_step_and_the_same_command_resumes_there(
    tmp_path, reference, number, code
):
    process = start(*RUN, "train.checkpoint_every_steps=null", f"outputs={tmp_path}")
    wait_for_step(process, tmp_path, 30)
    before = logged_step(tmp_path)
    process.send_signal(number)
    done = process.finish()
    assert done.returncode == code, done
    folder = run_folder(tmp_path)
    saved = status(folder)
    assert saved["state"] == "stopped" and "the same command goes on" in done.stdout
    assert saved["step"] >= before and saved["step"] == metrics(folder)[-1]["step"]
    assert [file.name for file in (folder / "checkpoints").glob("step-*")] == [
        f"step-{saved['step']:08d}.pt"
    ]
    done = launch(*RUN, f"outputs={tmp_path}")
    assert f"going on at step {saved['step']} of" in done.stdout
    assert_same_run(folder, reference)


def test_a_second_ctrl_c_leaves_at_once(tmp_path):
    # The whole split in one batch: a step takes long enough for both signals to come within it.
    process = start(
        "train.batch_size=1437",
        "train.epochs=200",
        "train.log_every_steps=1",
        f"outputs={tmp_path}",
    )
    wait_for_step(process, tmp_path, 1)
    process.send_signal(signal.SIGINT)
    while "Ctrl-C again" not in process.err.read_text():
        assert process.is_running()
    process.send_signal(signal.SIGINT)
    done = process.finish(timeout=30)
    assert done.returncode == 130 and "left at once" in done.stderr
    assert not list((run_folder(tmp_path) / "checkpoints").glob("step-*"))


def test_sigterm_in_a_slurm_job_saves_and_keeps_training(tmp_path, reference):
    process = start(
        *RUN, "train.checkpoint_every_steps=null", f"outputs={tmp_path}", SLURM_JOB_ID="7"
    )
    wait_for_step(process, tmp_path, 30)
    process.send_signal(signal.SIGTERM)
    folder = run_folder(tmp_path)
    while process.is_running() and not list((folder / "checkpoints").glob("step-*.pt")):
        time.sleep(0.001)
    assert process.is_running(), "it stopped at the signal"
    done = process.finish()
    assert done.returncode == 0, done
    assert_same_run(folder, reference)


def test_a_finished_run_is_not_trained_again_and_names_the_key_that_does(tmp_path):
    arguments = (*TINY, "train.epochs=1", f"outputs={tmp_path}")
    assert launch(*arguments).returncode == 0
    again = launch(*arguments)
    assert again.returncode == 0 and "done already" in again.stdout
    assert "rerun=true" in again.stdout
    anew = launch(*arguments, "rerun=true")
    assert anew.returncode == 0 and "set aside" in anew.stdout
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2 and names[1] == f"{names[0]}-old-1"
    assert launch(*arguments).stdout.count("done already") == 1


def test_two_processes_do_not_share_a_run_folder(tmp_path):
    arguments = (*TINY, "train.epochs=400", f"outputs={tmp_path}")
    first = start(*arguments)
    try:
        wait_for_step(first, tmp_path, 5)
        second = launch(*arguments)
        assert second.returncode == 1
        assert f"is being run by process {first.pid} on" in second.stderr
        assert len(second.stderr.splitlines()) <= 5
    finally:
        first.send_signal(signal.SIGKILL)
        first.finish()


def test_a_run_that_diverges_fails_by_name_and_keeps_its_last_good_checkpoint(tmp_path):
    arguments = (
        *TINY,
        "train.epochs=3",
        "optimizer=sgd",
        "optimizer.lr=1e30",
        f"outputs={tmp_path}",
    )
    done = launch(*arguments, "train.checkpoint_every_steps=1", "schedule.warmup_epochs=0")
    assert done.returncode == 1
    assert re.search(r"between steps \d+ and \d+", done.stderr), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 5
    folder = run_folder(tmp_path)
    assert status(folder)["state"] == "failed" and "steps" in status(folder)["reason"]
    for file in (folder / "checkpoints").glob("step-*.pt"):
        weights = torch.load(file, weights_only=True)["model"].values()
        assert all(torch.isfinite(weight).all() for weight in weights)


def test_a_crash_leaves_its_traceback_in_log_and_status(tmp_path):
    (tmp_path / "broken.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        raise RuntimeError('the fault of this test')\n"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "broken.yaml").write_text(
        "_target_: broken.Net\nkwargs: {in_features: 2, out_features: 2}\n"
    )
    outputs = tmp_path / "outputs"
    done = launch(f"--config-dir={tmp_path}", "model=broken", f"outputs={outputs}")
    assert done.returncode == 1
    folder = run_folder(outputs)
    assert "the fault of this test" in status(folder)["reason"]
    assert "Traceback" in (folder / "log").read_text()
