"""Batches as a function of the seed and the step, so that a run resumes anywhere.

The batch of step s is always the same images in the same order, with the same draws of
augmentation, however many worker processes prepare it and wherever a run was stopped.
"""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate

from crate import provenance
from crate.config.errors import UserError
from crate.config.schema import Data
from crate.config.target import call
from crate.data.cache.place import folder_of_caches
from crate.data.folder import Folder

Key = tuple[int, int]  # (epoch, index of the image)
IDLE = -100  # label of an image that counts for nothing; cross_entropy's own


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Returns the number of batches that give each image once; the last may be smaller."""
    return math.ceil(num_images / batch_size)


def load_split(data: Data, split: str, outputs: str | None = None) -> Any:
    """Returns the data set of one split ("train" or "val"); raises UserError where it is empty.

    What a check of its files found is kept with the caches of `outputs`; None: nowhere.
    """
    images = call(data, split=split)
    if isinstance(images, Folder):
        images.check(None if outputs is None else folder_of_caches(data.cache, outputs))
    if len(images) == 0:
        raise UserError(f"the {split} split of the data holds no image", fix="data.root=FOLDER")
    return images


def batch_length(num_images: int, batch_size: int, step: int) -> int:
    """Returns the number of images in the batch of a step, over all ranks."""
    position = step % steps_per_epoch(num_images, batch_size)
    return min(batch_size, num_images - position * batch_size)


def load_splits(data: Data, outputs: str | None = None) -> dict[str, Any]:
    """Returns the splits "train" and "val", by which the best is chosen; see `load_split`.

    With `data.val_fraction` that is a part of the training split, the same for every seed, and
    "test" is the evaluation split, which then chooses nothing.
    """
    train, evaluation = (load_split(data, split, outputs) for split in ("train", "val"))
    if not data.val_fraction:
        return {"train": train, "val": evaluation}
    num_val = round(data.val_fraction * len(train))
    if not 0 < num_val < len(train):
        raise UserError(
            f"data.val_fraction={data.val_fraction:g} of {len(train)} images leaves a split empty",
            "an image or more in each",
            "data.val_fraction=0.1",
        )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).tolist()
    return {
        "train": Subset(train, sorted(order[num_val:])),
        "val": Subset(train, sorted(order[:num_val])),
        "test": evaluation,
    }


def notes(splits: dict[str, Any]) -> list[str]:
    """Returns the lines in which data sets say what they left out, each once."""
    wholes = [getattr(images, "dataset", images) for images in splits.values()]
    return list(dict.fromkeys(note for whole in wholes for note in getattr(whole, "notes", [])))


class Batches(Sampler[list[Key]]):
    """The keys of each batch from `start` (a step) to `stop`, over all epochs between them.

    Of each batch `rank` of `size` gets its share; where there is none for it, one idle image.
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
    """Returns a rank's part of a batch of B: a stretch of its front half and that stretch's mirror.

    Images i and B-1-i, which mixup pairs, so stay together, as images i and b-1-i of the part.
    """
    half = (len(batch) + 1) // 2
    first, last = half * rank // size, half * (rank + 1) // size
    front, back = batch[first:last], batch[len(batch) - last : len(batch) - first]
    middle_is_in_both = len(batch) % 2 and first < last == half
    return front + back[1 if middle_is_in_both else 0 :]


class Prepared(Dataset[tuple[Tensor, int]]):
    """Images prepared for the model; each training image draws from its own seed.

    An evaluation image has the key (epoch, index) of epoch -1 and `seed` None; an idle one has
    the index ~index. What a data set says in a UserError is returned, for `_batches` to raise.
    """

    def __init__(self, images: Any, transform: Callable[..., Any], seed: int | None) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | UserError:
        epoch, index = key
        idle, index = (True, ~index) if index < 0 else (False, index)
        if self.seed is not None:
            _seed_generators(mixed_seed(self.seed, epoch, index))
        try:
            image, label = self.images[index]
        except UserError as error:  # raised from a worker it would come with a traceback
            return error
        return self.transform(image), IDLE if idle else int(label)


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
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images (b, C, H, W), labels (b,)) of the steps from `start` to `stop`.

    They are the share that `rank` of `size` has in the global batch.
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
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images (B, C, H, W), labels (B,)), each image once over the ranks, in order.

    The batch is not the training's, so that a large one of these costs evaluation no memory.
    """
    ours = range(rank, len(images), size)
    keys = [
        [(-1, index) for index in ours[first : first + batch_size]]
        for first in range(0, len(ours), batch_size)
    ]
    return _batches(Prepared(images, transform, None), keys, workers)


def num_workers(data: Data, local_size: int = 1) -> int:
    """Returns the loader processes of each of `local_size` ranks: as configured, or one a core."""
    if data.workers is not None:
        return data.workers
    return max(1, provenance.cores() // local_size)


def _batches(images: Prepared, keys: Any, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(
        images,
        batch_sampler=keys,
        collate_fn=_collate,
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


def _collate(items: list[tuple[Tensor, int] | UserError]) -> tuple[Tensor, Tensor] | UserError:
    """Returns the items as a batch, or the first error among them."""
    errors = (item for item in items if isinstance(item, UserError))
    if error := next(errors, None):
        return error
    if not all(isinstance(image, Tensor) and image.ndim == 3 for image, _ in items):
        return default_collate(items)
    if any(image.stride(0) != 1 for image, _ in items):
        return default_collate(items)
    # (h, w, C) in memory, as images are decoded: so the batch is copied row by row, and changed
    # to planes where it becomes floats, on the training device
    images, labels = default_collate([(image.permute(1, 2, 0), label) for image, label in items])
    return images.permute(0, 3, 1, 2), labels


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


def mixed_seed(*numbers: int) -> int:
    """Returns one well-mixed 63-bit seed of several numbers."""
    entropy = np.array(numbers, np.uint32) if max(numbers) < 2**32 else numbers  # sooner as such
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def ignore_signals(worker: int) -> None:
    """Leaves signals to the main process, which a forked worker would else handle as well."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR2", "SIGCONT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
