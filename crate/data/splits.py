"""The data sets of a run, one for each split."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.utils.data import Dataset, Subset

from crate.config.schema import Data
from crate.config.target import call
from crate.data import facts
from crate.data.cache.setting import folder_of_caches
from crate.data.folder import Folder
from crate.data.images.split import Split, whole
from crate.data.loading.seeds import DATA_SEED, kept_generators, seed_generators
from crate.errors import UserError


def load_split(data: Data, split: str, outputs: str | None = None) -> Split:
    """Return the data set of one split, "train" or "val".

    If its files are checked, the result is stored with the caches of `outputs`, or not at all with
    None. Raise UserError if the split is empty.
    """
    with kept_generators():
        seed_generators(DATA_SEED)
        images = call(data, split=split)
    if isinstance(images, Folder):
        images.check(None if outputs is None else folder_of_caches(data.cache, outputs))
    if len(images) == 0:
        raise UserError(f"the {split} split of the data holds no image", fix="data.root=FOLDER")
    return images


def load_splits(data: Data, outputs: str | None = None) -> dict[str, Split]:
    """Return the splits "train" and "val"; the best weights are chosen by the latter.

    With `data.val_fraction` "val" is a part of the training split, the same for every seed, and
    "test" is the evaluation split, by which nothing is chosen. See `load_split`.
    """
    train, evaluation = (load_split(data, split, outputs) for split in ("train", "val"))
    if not data.val_fraction:
        return {"train": train, "val": evaluation}
    num_val = round(data.val_fraction * len(train))
    if not 0 < num_val < len(train):
        raise facts.empty_split(data.val_fraction, len(train))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).tolist()
    dataset = cast("Dataset[Any]", train)  # torch asks for its class, and uses what a Split has
    return {
        "train": Subset(dataset, sorted(order[num_val:])),
        "val": Subset(dataset, sorted(order[:num_val])),
        "test": evaluation,
    }


def notes(splits: dict[str, Split]) -> list[str]:
    """Return the lines in which data sets name what they left out, each once."""
    lines = [note for images in splits.values() for note in getattr(whole(images), "notes", [])]
    return list(dict.fromkeys(lines))
