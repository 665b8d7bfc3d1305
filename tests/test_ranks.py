"""The rank of a process, and the share of the work of each rank."""

from __future__ import annotations

import pytest
import torch

from crate.config.check import typed
from crate.data.loading.batches import BatchKeys, batch_length, share
from crate.data.loading.loader import IDLE, eval_batches, train_batches
from crate.data.loading.mixing import mixing
from crate.errors import UserError
from crate.ranks import Ranks
from crate.tasks.preflight import require_startable
from crate.train.hardware.device import resolve_device
from tests.launching import TINY

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
TORCHRUN = {"RANK": 3, "WORLD_SIZE": 8, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}
SLURM = {
    "SLURM_JOB_ID": 12,
    "SLURM_PROCID": 4,
    "SLURM_LOCALID": 0,
    "SLURM_NODEID": 2,
    "SLURM_NTASKS": 5,
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Ranks()),
        (TORCHRUN, Ranks(3, 8, 1, 2, "torchrun")),
        (
            SLURM | {"SLURM_STEP_NUM_TASKS": 5, "SLURM_STEP_TASKS_PER_NODE": "2(x2),1"},
            Ranks(4, 5, 0, 1, "slurm"),
        ),
        (SLURM, Ranks()),  # a batch script's own process, of a job with five tasks
        (SLURM | {"SLURM_STEP_NUM_TASKS": 1, "SLURM_STEP_TASKS_PER_NODE": "1"}, Ranks()),
    ],
)
def test_torchrun_slurm_and_one_process_are_distinguished(monkeypatch, environment, expected):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    assert Ranks.detect() == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 13])
def test_shares_part_a_batch_and_keep_mirror_images_together(length, size):
    shares = [share(list(range(length)), rank, size) for rank in range(size)]
    assert sorted(index for part in shares for index in part) == list(range(length))
    for part in shares:
        assert [length - 1 - index for index in part] == part[::-1]
    assert max(map(len, shares)) - min(map(len, shares)) <= 2


def test_the_ranks_batches_make_the_global_one_and_idle_images_count_for_nothing():
    alone = list(BatchKeys(50, 16, seed=3, start=0, stop=8))
    parts = [list(BatchKeys(50, 16, seed=3, start=0, stop=8, rank=r, size=3)) for r in range(3)]
    for step, batch in enumerate(alone):
        assert len(batch) == batch_length(50, 16, step) == (16 if step % 4 < 3 else 2)
        ours = [key for part in parts for key in part[step] if key[1] >= 0]
        assert sorted(ours) == sorted(batch)
    images = [(torch.zeros(1), 7)] * 50
    arguments = {"batch_size": 16, "seed": 3, "start": 3, "stop": 4, "workers": 0}
    labels = [
        next(train_batches(images, lambda image: image, **arguments, rank=rank, size=3))[1].tolist()
        for rank in range(3)
    ]
    assert sorted(labels) == [[IDLE], [IDLE], [7, 7]]


def test_evaluation_gives_each_image_once_over_the_ranks():
    images = [(torch.zeros(1), number) for number in range(23)]
    all_labels = [
        label
        for rank in range(3)
        for _, labels in eval_batches(
            images, lambda image: image, workers=0, batch_size=4, rank=rank, size=3
        )
        for label in labels.tolist()
    ]
    assert sorted(all_labels) == list(range(23))


@pytest.mark.parametrize("length", [8, 13])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_pairs_the_global_batch_whatever_the_ranks(composed, kind, length):
    config = typed(composed(f"augment.{kind}=0.5", "augment=flip_crop"))
    images = torch.rand(length, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(length) % 10
    mixer = mixing(config.augment, 10, seed=4)
    whole, targets = mixer.mix(images.clone(), labels, 0.1, step=5)
    for rank in range(3):
        ours = share(list(range(length)), rank, 3)
        mixed, answers = mixer.mix(images[ours], labels[ours], 0.1, step=5)
        assert torch.equal(mixed, whole[ours]) and torch.equal(answers, targets[ours])
    assert torch.allclose(targets.sum(1), torch.ones(length))
    changed = (whole != images).flatten(1).any(1)
    assert changed.sum() == length - length % 2, "only the middle of an odd batch stays"
    weight = (targets[0, labels[0]] - 0.01) / 0.9
    if kind == "mixup":
        assert torch.allclose(whole[0], weight * images[0] + (1 - weight) * images[-1], atol=1e-6)
    else:
        kept = (whole[0] == images[0]).float().mean()
        assert torch.isclose(kept, weight, atol=1e-6)


def test_a_wrong_number_of_ranks_is_refused(composed):
    pair = Ranks(0, 2, 0, 2)
    with pytest.raises(UserError, match="ranks=4, and 2 process.*\n.*\n.*nproc_per_node=4"):
        require_startable(typed(composed(*TINY, "ranks=4")), pair)
    with pytest.raises(UserError, match="train.batch_size=1 is less than the 2 ranks"):
        require_startable(typed(composed(*TINY, "train.batch_size=1")), pair)
    with pytest.raises(UserError, match="device=mps is for one rank, not 2"):
        resolve_device("mps", pair)
