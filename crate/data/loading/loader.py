"""Batches as a function of the seed and the step, so that a run resumes anywhere.

The batch of step s always has the same images in the same order, with the same draws of
augmentation, however many worker processes prepare it and wherever a run was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from crate.data.images.split import Split
from crate.data.loading.batches import BatchKeys, Key
from crate.data.loading.collate import Batch, collate
from crate.data.loading.seeds import DATA_SEED, mixed_seeds, seed_generators
from crate.data.loading.workers import prepare

IDLE = -100  # label of an image that counts for nothing; cross_entropy's own


class Prepared:
    """The batch of a list of keys (epoch, index); each image draws from its own seed.

    That is a function of `seed`, epoch and index. An evaluation image has the epoch -1 and `seed`
    None, so it draws the same in every run. An idle image has the index ~index.
    """

    def __init__(self, images: Split, transform: Callable[[Any], Any], seed: int | None) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __getitem__(self, keys: list[Key]) -> Batch:
        return collate(self._items(keys), len(keys))

    def _items(self, keys: list[Key]) -> Iterator[tuple[Any, int]]:
        epochs = [max(epoch, 0) for epoch, _ in keys]
        indices = [~index if index < 0 else index for _, index in keys]
        seeds = mixed_seeds(DATA_SEED if self.seed is None else self.seed, epochs, indices)
        for number, index in enumerate(indices):
            seed_generators(seeds[number])
            image, label = self.images[index]
            yield self.transform(image), IDLE if keys[number][1] < 0 else label


def train_batches(
    images: Split,
    transform: Callable[[Any], Any],
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    workers: int,
    rank: int = 0,
    size: int = 1,
) -> Iterator[Batch]:
    """Yield (images (b, C, H, W), labels (b,)) of the steps from `start` to `stop`.

    They are the share of `rank` of `size` in the global batch. If the transform only cuts crops
    out, the images are `Crops`. Raise UserError if an image cannot be prepared.
    """
    keys = BatchKeys(len(images), batch_size, seed, start, stop, rank, size)
    return _batches(Prepared(images, transform, seed), keys, workers)


def eval_batches(
    images: Split,
    transform: Callable[[Any], Any],
    *,
    workers: int,
    batch_size: int = 256,
    rank: int = 0,
    size: int = 1,
) -> Iterator[Batch]:
    """Yield (images (B, C, H, W), labels (B,)), each image once over the ranks, in order.

    The batch size is not that of training, so that a large one takes no memory in evaluation.
    Raise UserError if an image cannot be prepared.
    """
    ours = range(rank, len(images), size)
    keys = [
        [(-1, index) for index in ours[first : first + batch_size]]
        for first in range(0, len(ours), batch_size)
    ]
    return _batches(Prepared(images, transform, None), keys, workers)


def _batches(images: Prepared, keys: BatchKeys | list[list[Key]], workers: int) -> Iterator[Batch]:
    return prepare(images, keys, workers, pin_memory=torch.cuda.is_available())
