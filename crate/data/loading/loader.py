"""Batches as a function of the seed and the step, so that a run resumes anywhere.

The batch of step s is always the same images in the same order, with the same draws of
augmentation, however many worker processes prepare it and wherever a run was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from crate.data.loading.batches import Batches, Key
from crate.data.loading.collate import Batch, collate
from crate.data.loading.seeds import DATA_SEED, kept_generators, mixed_seeds, seed_generators
from crate.data.loading.workers import ignore_signals
from crate.errors import UserError

IDLE = -100  # label of an image that counts for nothing; cross_entropy's own


class Prepared(Dataset[Batch]):
    """Images prepared for the model; each draws from its own seed, in whatever process.

    That is a function of `seed`, epoch and index. An evaluation image has the key (epoch, index) of
    epoch -1 and `seed` None: it draws the same in every run. An idle image has the index ~index.
    """

    def __init__(self, images: Any, transform: Callable[..., Any], seed: int | None) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, keys: list[Key]) -> Batch | UserError:
        """Returns a whole batch; what is said in a UserError is returned, for `_batches` to raise.

        Raised from a worker it would come with a traceback.
        """
        try:
            return collate(self._items(keys), len(keys))
        except UserError as error:
            return error

    def _items(self, keys: list[Key]) -> Iterator[tuple[Any, int]]:
        epochs = [max(epoch, 0) for epoch, _ in keys]
        indices = [~index if index < 0 else index for _, index in keys]
        seeds = mixed_seeds(DATA_SEED if self.seed is None else self.seed, epochs, indices)
        for number, index in enumerate(indices):
            seed_generators(seeds[number])
            image, label = self.images[index]
            yield self.transform(image), IDLE if keys[number][1] < 0 else int(label)


def train_batches(
    images: Any,
    transform: Callable[..., Any],
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    workers: int,
    rank: int = 0,
    size: int = 1,
) -> Iterator[Batch]:
    """Yields (images (b, C, H, W), labels (b,)) of the steps from `start` to `stop`.

    They are the share that `rank` of `size` has in the global batch. Of a transform that only cuts
    crops out, the images are `Crops`.
    """
    keys = Batches(len(images), batch_size, seed, start, stop, rank, size)
    return _batches(Prepared(images, transform, seed), keys, workers)


def eval_batches(
    images: Any,
    transform: Callable[..., Any],
    *,
    workers: int,
    batch_size: int = 256,
    rank: int = 0,
    size: int = 1,
) -> Iterator[Batch]:
    """Yields (images (B, C, H, W), labels (B,)), each image once over the ranks, in order.

    The batch is not the training's, so that a large one of these costs evaluation no memory.
    """
    ours = range(rank, len(images), size)
    keys = [
        [(-1, index) for index in ours[first : first + batch_size]]
        for first in range(0, len(ours), batch_size)
    ]
    return _batches(Prepared(images, transform, None), keys, workers)


def _batches(images: Prepared, keys: Any, workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        images,
        batch_sampler=keys,
        collate_fn=_as_it_is,
        num_workers=workers,
        worker_init_fn=ignore_signals,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else it draws from the run's own generator
    )
    iterator = iter(loader)
    try:
        while True:
            with nullcontext() if workers else kept_generators():  # draws must not move the model's
                batch = next(iterator, None)
            if batch is None:
                return
            if isinstance(batch, UserError):
                raise batch
            yield batch
    finally:
        del iterator  # ends the workers, which an error's traceback would else keep


def _as_it_is(batch: Batch | UserError) -> Batch | UserError:
    return batch  # whole already, where the loader would put one together
