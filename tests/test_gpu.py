"""Tests that need a GPU: `pytest -m gpu`."""

from __future__ import annotations

import signal

import pytest
import torch

from crate.data.images.device_crop import Crops, Cut
from crate.data.loading.prefetch import on_device
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


@pytest.mark.parametrize("augment", ["flip_crop", "mixup_cutmix", "randaugment"])
def test_a_run_on_cached_images_begins_as_the_cpus_does(tmp_path, roots, augment):
    run = (*TINY, "data=imagefolder", f"data.root={roots['imagefolder']}", "data.img_size=32")
    run += ("data.cache=on", "train.batch_size=2", "train.epochs=3", "train.log_every_steps=1")
    run += (f"augment={augment}", "optimizer.lr=1e-4", "precision=fp32", "schedule.warmup_epochs=0")
    losses = {}
    for device in ("cpu", "cuda"):
        done = launch(*run, f"device={device}", f"outputs={tmp_path / device}")
        assert done.returncode == 0, done.stderr
        rows = metrics(run_folder(tmp_path / device))
        losses[device] = torch.tensor([row["train/loss"] for row in rows if "train/loss" in row])
    assert len(losses["cpu"]) == 6
    assert torch.allclose(losses["cuda"], losses["cpu"], atol=2e-2)


def photographs_crops():
    """Return crops of several shapes, and their resized batch from the CPU."""
    from sklearn.datasets import load_sample_image

    photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
    boxes = [(40 + 9 * number, 300 - 8 * number) for number in range(32)]
    cuts = [Cut(photograph[:, :h, :w], h % 2 == 0, (128, 96)) for h, w in boxes]
    crops = Crops.of(cuts)
    return crops, crops.resized(torch.device("cpu"))


def test_crops_resized_on_a_gpu_are_those_of_the_cpu():
    crops, expected = photographs_crops()
    resized = crops.pin_memory().resized(torch.device("cuda"))
    assert resized.is_cuda and resized.dtype == torch.uint8
    apart = (resized.cpu().int() - expected.int()).abs()
    assert apart.max() <= 1 and apart.float().mean() < 1e-3


def test_batches_that_come_ahead_are_whole_while_the_gpu_is_busy():
    crops, expected = photographs_crops()
    crops, device = crops.pin_memory(), torch.device("cuda")
    noise = torch.rand(4096, 4096, device=device)

    def batches():
        for number in range(20):
            plain = torch.full((64, 3, 128, 128), number, dtype=torch.uint8).pin_memory()
            yield (crops, torch.tensor([number]).pin_memory())
            yield (plain, torch.tensor([number]).pin_memory())

    kept = []
    for images, labels in on_device(batches(), device):
        for _ in range(5):
            noise = (noise @ noise).tanh()
        kept.append((images.int().sum(), labels + 0))  # read late, in the computing stream
    assert len(kept) == 40
    for number, (total, label) in enumerate(kept):
        assert label.item() == number // 2
        if number % 2:
            assert total.item() == number // 2 * 64 * 3 * 128 * 128
        else:
            assert abs(total.item() - expected.int().sum().item()) < 1e-3 * expected.numel()
