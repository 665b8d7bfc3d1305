"""The data sets of a run: one for each split."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Subset

from crate.config.schema import Data
from crate.config.target import call
from crate.data import facts
from crate.data.cache.setting import folder_of_caches
from crate.data.folder import Folder
from crate.data.loading.seeds import DATA_SEED, kept_generators, seed_generators
from crate.errors import UserError


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
        raise facts.empty_split(data.val_fraction, len(train))
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
