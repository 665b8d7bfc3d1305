"""Batches as a function of the seed and the step, so that a run resumes anywhere.

The batch of step s is always the same images in the same order, with the same draws of
augmentation, however many worker processes prepare it and wherever a run was stopped.
"""

from __future__ import annotations

import math
import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from crate.config.errors import UserError
from crate.config.schema import Data
from crate.config.target import call

Key = tuple[int, int]  # (epoch, index of the image)


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Returns the number of batches that give each image once; the last may be smaller."""
    return math.ceil(num_images / batch_size)


def load_split(data: Data, split: str) -> Any:
    """Returns the data set of one split ("train" or "val"); raises UserError where it is empty."""
    images = call(data, split=split)
    if len(images) == 0:
        raise UserError(f"the {split} split of the data holds no image", fix="data.root=FOLDER")
    return images


class Batches(Sampler[list[Key]]):
    """The keys of each batch from `start` (a step) to `stop`, over all epochs between them."""

    def __init__(self, num_images: int, batch_size: int, seed: int, start: int, stop: int) -> None:
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.start, self.stop = start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = steps_per_epoch(self.num_images, self.batch_size)
        order: list[int] = []
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, per_epoch)
            if not order or position == 0:
                generator = torch.Generator().manual_seed(_mix(self.seed, epoch))
                order = torch.randperm(self.num_images, generator=generator).tolist()
            first = position * self.batch_size
            yield [(epoch, index) for index in order[first : first + self.batch_size]]


class Prepared(Dataset[tuple[Tensor, int]]):
    """Images prepared for the model; each training image draws from its own seed.

    An evaluation image has the key (epoch, index) of epoch -1 and `seed` None.
    """

    def __init__(self, images: Any, transform: Callable[..., Any], seed: int | None) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        if self.seed is not None:
            _seed_generators(_mix(self.seed, epoch, index))
        image, label = self.images[index]
        return self.transform(image), int(label)


def train_batches(
    images: Any,
    transform: Callable[..., Any],
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    workers: int | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images (B, C, H, W), labels (B,)) of the steps from `start` to `stop`."""
    keys = Batches(len(images), batch_size, seed, start, stop)
    return _batches(Prepared(images, transform, seed), keys, workers)


def eval_batches(
    images: Any, transform: Callable[..., Any], *, workers: int | None, batch_size: int = 256
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images (B, C, H, W), labels (B,)), each image once, in order.

    The batch is not the training's, so that a large one of these costs evaluation no memory.
    """
    count = len(images)
    keys = [
        [(-1, index) for index in range(first, min(first + batch_size, count))]
        for first in range(0, count, batch_size)
    ]
    return _batches(Prepared(images, transform, None), keys, workers)


def _batches(images: Prepared, keys: Any, workers: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    if workers is None:
        workers = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
    loader = DataLoader(
        images,
        batch_sampler=keys,
        num_workers=workers,
        worker_init_fn=_ignore_signals,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else it draws from the run's own generator
    )
    if workers:
        yield from loader
        return
    iterator = iter(loader)
    while True:
        with kept_generators():  # the images' draws must not move the model's
            batch = next(iterator, None)
        if batch is None:
            return
        yield batch


class kept_generators:
    """Puts the global generators of torch (CPU), numpy and Python back on leaving."""

    def __enter__(self) -> None:
        self.states = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def __exit__(self, *exception: object) -> None:
        torch.set_rng_state(self.states[0])
        np.random.set_state(self.states[1])
        random.setstate(self.states[2])


def _seed_generators(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _mix(*numbers: int) -> int:
    """Returns one well-mixed 63-bit seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _ignore_signals(worker: int) -> None:
    """Leaves signals to the main process, which a forked worker would else handle as well."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR2", "SIGCONT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
