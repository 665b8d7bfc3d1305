"""Two ranks train the same run as one, evaluate exactly, and resume to the last bit."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
import torch

from crate.paths import CHECKOUT
from tests.launching import (
    TINY,
    launch,
    launch_ranks,
    metrics,
    run_folder,
    start_ranks,
    status,
    wait_for_step,
)

# 1,294 images to train on, so that the last batch of an epoch is smaller; 143 to choose by.
RUN = (
    *TINY,
    "train.epochs=6",
    "train.accumulation_steps=2",
    "train.ema=0.9",
    "train.log_every_steps=1",
    "train.checkpoint_every_steps=7",
    "augment=mixup_cutmix",
    "data.val_fraction=0.0995",
    "precision=fp32",
    "device=cpu",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("alone")
    done = launch(*RUN, f"outputs={outputs}")
    assert done.returncode == 0, done.stderr
    return run_folder(outputs)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("pair")
    first, second = launch_ranks(*RUN, f"outputs={outputs}")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "2 ranks" in first.stdout and not second.stdout
    return run_folder(outputs)


def weights(folder):
    return torch.load(sorted(folder.glob("checkpoints/step-*"))[-1], weights_only=True)


def test_two_ranks_give_one_ranks_losses_and_run(alone, pair):
    assert alone.name == pair.name, "the number of ranks is no part of a run's identity"
    ours, theirs = metrics(pair), metrics(alone)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for row, other in zip(ours, theirs, strict=True):
        assert row.keys() == other.keys()
        for name in row:
            assert row[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5), (row, other)
            if name == "train/loss":
                assert abs(row[name] - other[name]) < 1e-5


def test_two_ranks_evaluate_an_odd_number_of_images_exactly(alone):
    typed = ("task=evaluate", f"checkpoint={alone / 'checkpoints' / 'best.pt'}", "device=cpu")
    one, (first, second) = launch(*typed), launch_ranks(*typed, size=7)[:2]
    assert "360 images of Digits" in one.stdout and 360 % 7
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == one.stdout and not second.stdout


def test_two_ranks_killed_and_resumed_are_bit_equal_to_two_uninterrupted(tmp_path, pair):
    stops = [
        (11, 0, signal.SIGKILL),
        (30, 1, signal.SIGKILL),
        (50, 1, signal.SIGTERM),
        (70, 0, signal.SIGINT),
    ]
    for step, rank, number in stops:
        processes = start_ranks(*RUN, f"outputs={tmp_path}")
        wait_for_step(processes[0], tmp_path, step)
        processes[rank].send_signal(number)
        done = [process.finish(timeout=60) for process in processes]
        if number == signal.SIGKILL:
            assert done[rank].returncode == -number and done[1 - rank].returncode != 0
        else:
            assert [each.returncode for each in done] == [128 + number] * 2, done
            assert status(run_folder(tmp_path))["state"] == "stopped"
    first, second = launch_ranks(*RUN, f"outputs={tmp_path}")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    folder = run_folder(tmp_path)
    ours, theirs = weights(folder), weights(pair)
    for part in ("model", "ema"):
        for name, weight in theirs[part].items():
            assert torch.equal(ours[part][name], weight), (part, name)
    assert metrics(folder) == metrics(pair)


@pytest.mark.slow
def test_three_ranks_add_up_in_the_same_order_after_a_resume(tmp_path):
    # Of three numbers, unlike of two, the order of addition shows in the last bit.
    run = (*RUN, "model.embed_dim=64")
    whole = launch_ranks(*run, f"outputs={tmp_path / 'whole'}", size=3)
    processes = start_ranks(*run, f"outputs={tmp_path / 'cut'}", size=3)
    wait_for_step(processes[0], tmp_path / "cut", 30)
    processes[1].send_signal(signal.SIGTERM)
    assert [process.finish().returncode for process in processes] == [143] * 3
    cut = launch_ranks(*run, f"outputs={tmp_path / 'cut'}", size=3)
    assert [each.returncode for each in whole + cut] == [0] * 6
    assert metrics(run_folder(tmp_path / "cut")) == metrics(run_folder(tmp_path / "whole"))


def test_a_run_of_two_ranks_resumes_on_one(tmp_path, alone):
    processes = start_ranks(*RUN, f"outputs={tmp_path}")
    wait_for_step(processes[0], tmp_path, 20)
    processes[1].send_signal(signal.SIGTERM)
    assert [process.finish().returncode for process in processes] == [143, 143]
    done = launch(*RUN, f"outputs={tmp_path}")
    assert done.returncode == 0 and "going on at step" in done.stdout, done.stderr
    for row, other in zip(metrics(run_folder(tmp_path)), metrics(alone), strict=True):
        if "train/loss" in row:
            assert abs(row["train/loss"] - other["train/loss"]) < 1e-5


def test_only_rank_0_prints_an_error_and_no_folder_is_left(tmp_path):
    first, second = launch_ranks(*TINY, "ranks=4", f"outputs={tmp_path}")
    assert first.returncode == second.returncode == 1
    assert "ranks=4, and 2 process(es) were started" in first.stderr
    assert "Traceback" not in first.stderr and "error:" not in second.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_readmes_torchrun_command_trains(tmp_path):
    readme = (CHECKOUT / "README.md").read_text()
    (words,) = [line.split() for line in readme.splitlines() if line.startswith("torchrun ")]
    module = [sys.executable, "-m", "torch.distributed.run", "--standalone"]  # any free port
    small = [*TINY, "device=cpu", f"outputs={tmp_path}"]
    command = module + words[1:] + small
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    assert "2 ranks" in done.stdout and len(re.findall("run folder:", done.stdout)) == 1
    assert status(run_folder(tmp_path))["state"] == "finished"
