"""What only a GPU can show: `pytest -m gpu` where there is one."""

from __future__ import annotations

import signal

import pytest
import torch

from tests.launching import (
    TINY,
    launch,
    launch_ranks,
    metrics,
    run_folder,
    start,
    status,
    wait_for_step,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
RUN = (*TINY, "train.epochs=4", "augment=mixup_cutmix", "train.log_every_steps=1")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns(tmp_path, precision):
    done = launch(*TINY, "train.epochs=10", f"precision={precision}", f"outputs={tmp_path}")
    assert done.returncode == 0 and f"{precision} on cuda" in done.stdout, done.stderr
    rows = metrics(run_folder(tmp_path))
    assert rows[-1]["val/loss"] < 0.8 * next(row for row in rows if "val/loss" in row)["val/loss"]


def test_auto_takes_the_gpu_and_what_it_computes_in(tmp_path):
    done = launch(*TINY, "train.epochs=1", f"outputs={tmp_path}")
    expected = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    assert f"{expected} on cuda" in done.stdout, done.stderr
    last = torch.cuda.device_count() - 1
    named = launch(*TINY, "train.epochs=1", f"device=cuda:{last}", f"outputs={tmp_path / 'named'}")
    assert named.returncode == 0, named.stderr
    absent = launch(*TINY, f"device=cuda:{last + 1}", f"outputs={tmp_path / 'absent'}")
    assert absent.returncode == 1 and f"device=cuda:{last + 1} is not there" in absent.stderr


def test_one_rank_over_nccl_is_the_run_of_a_process_alone(tmp_path):
    run = (*RUN, "deterministic=true")
    assert launch(*run, f"outputs={tmp_path / 'alone'}").returncode == 0
    (done,) = launch_ranks(*run, f"outputs={tmp_path / 'rank'}", size=1)
    assert done.returncode == 0, done.stderr
    assert metrics(run_folder(tmp_path / "rank")) == metrics(run_folder(tmp_path / "alone"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_deterministic_run_resumes_to_the_bit(tmp_path, precision):
    run = (*RUN, "deterministic=true", f"precision={precision}", "train.checkpoint_every_steps=7")
    assert launch(*run, f"outputs={tmp_path / 'whole'}").returncode == 0
    cut = tmp_path / "cut"
    for step, number in ((20, signal.SIGKILL), (45, signal.SIGTERM)):
        process = start(*run, f"outputs={cut}")
        wait_for_step(process, cut, step)
        process.send_signal(number)
        process.finish()
    assert launch(*run, f"outputs={cut}").returncode == 0
    folders = [run_folder(tmp_path / name) for name in ("cut", "whole")]
    assert metrics(folders[0]) == metrics(folders[1])
    ours, theirs = (
        torch.load(
            folder / "checkpoints" / "step-00000092.pt", weights_only=True, map_location="cpu"
        )
        for folder in folders
    )
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in theirs["model"])
    assert status(folders[0])["attempts"] == 3


def test_more_ranks_than_gpus_are_refused(tmp_path):
    size = torch.cuda.device_count() + 1
    done = launch_ranks(*TINY, f"outputs={tmp_path}", size=size)
    assert all(each.returncode == 1 for each in done)
    assert f"{size} ranks on a machine of {size - 1} GPU(s)" in done[0].stderr
