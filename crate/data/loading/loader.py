"""Batches as a function of the seed and the step, so that a run resumes anywhere.

The batch of step s is always the same images in the same order, with the same draws of
augmentation, however many worker processes prepare it and wherever a run was stopped.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from crate.config.schema import Data
from crate.config.target import call
from crate.data.cache.place import folder_of_caches
from crate.data.folder import Folder
from crate.data.loading.batches import Batches, Key
from crate.data.loading.collate import Batch, collate
from crate.data.loading.seeds import kept_generators, mixed_seeds, seed_generators
from crate.errors import UserError
from crate.run import provenance

DATA_SEED = 0  # of what a data set draws when it is made, or for an image in evaluation
IDLE = -100  # label of an image that counts for nothing; cross_entropy's own


def load_split(data: Data, split: str, outputs: str | None = None) -> Any:
    """Returns the data set of one split ("train" or "val"); raises UserError where it is empty.

    What a check of its files found is kept with the caches of `outputs`; None: nowhere.
    """
    with kept_generators():
        seed_generators(DATA_SEED)
        images = call(data, split=split)
    if isinstance(images, Folder):
        images.check(None if outputs is None else folder_of_caches(data.cache, outputs))
    if len(images) == 0:
        raise UserError(f"the {split} split of the data holds no image", fix="data.root=FOLDER")
    return images


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


def num_workers(data: Data, local_size: int = 1) -> int:
    """Returns the loader processes of each of `local_size` ranks: as configured, or one a core."""
    if data.workers is not None:
        return data.workers
    return max(1, provenance.cores() // local_size)


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


def ignore_signals(worker: int) -> None:
    """Leaves signals to the main process, which a forked worker would else handle as well."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR2", "SIGCONT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
