"""Which images make the batch of a step, and which of them are a rank's."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from crate.data.loading.seeds import mixed_seed

Key = tuple[int, int]  # (epoch, index of the image)


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Return the number of batches that give each image once; the last may be smaller."""
    return math.ceil(num_images / batch_size)


def batch_length(num_images: int, batch_size: int, step: int) -> int:
    """Return the number of images in the batch of a step, over all ranks."""
    position = step % steps_per_epoch(num_images, batch_size)
    return min(batch_size, num_images - position * batch_size)


class BatchKeys(Sampler[list[Key]]):
    """The keys of each batch from step `start` to `stop`, over all epochs between them.

    `rank` of `size` gets its share of each batch, or one idle image if it has none.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.start, self.stop, self.rank, self.size = start, stop, rank, size

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = steps_per_epoch(self.num_images, self.batch_size)
        order: list[int] = []
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, per_epoch)
            if not order or position == 0:
                generator = torch.Generator().manual_seed(mixed_seed(self.seed, epoch))
                order = torch.randperm(self.num_images, generator=generator).tolist()
            first = position * self.batch_size
            batch = order[first : first + self.batch_size]
            ours = share(batch, self.rank, self.size) or [~batch[0]]
            yield [(epoch, index) for index in ours]


def share(batch: list[int], rank: int, size: int) -> list[int]:
    """Return a rank's part of a batch of B: a section of its front half and its mirror image.

    So images i and B-1-i, which mixup pairs, stay together, as images i and b-1-i of the part.
    """
    half = (len(batch) + 1) // 2
    first, last = half * rank // size, half * (rank + 1) // size
    front, back = batch[first:last], batch[len(batch) - last : len(batch) - first]
    middle_is_in_both = len(batch) % 2 and first < last == half
    return front + back[1 if middle_is_in_both else 0 :]
