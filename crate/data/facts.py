"""What the files on disk say of a data set before training: that they are there, and which.

Imports no torch, so that a launch can check and identify data at once.
"""

from __future__ import annotations

import math
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config import suggestions
from crate.config.schema import Data, Downloadable, Folder
from crate.data.cache.place import complete_cache
from crate.data.published import layout, published
from crate.data.published.layout import SPLITS, class_names
from crate.errors import UserError
from crate.paths import absolute

DIGITS = 12  # hexadecimal; 48 bits
HOW_TO_GET = {
    "imagenet100": "its Kaggle download, unpacked as it is (train.X1 to train.X4, val.X, "
    "Labels.json): kaggle datasets download ambityga/imagenet100 --unzip -p {root}",
    "imagenet1k": "train/ and val/ with one folder per WordNet id (image-net.org, ILSVRC 2012)",
}


def complete(cfg: DictConfig) -> list[UserError]:
    """Fill `cfg.data.root` and `num_classes` from the set or its files, and fit its suggestions.

    Return what is missing or wrong. A set that torchvision may download is missing only where
    `data.download=false`: it is downloaded when the run starts. An interpolation that leads nowhere
    is left to the checks of values.
    """
    try:
        OmegaConf.to_container(cfg.data, resolve=True)
    except OmegaConfBaseException:
        if cfg.data._get_node("num_classes")._value() is None:
            cfg.data.num_classes = 1  # so that other checks can go on
        return []
    complete_cache(cfg.data)
    if "root" in cfg.data and cfg.data.root == "":  # `data.root=$VARIABLE` of an unset variable
        cfg.data.num_classes = cfg.data.num_classes or 1  # so that other checks can go on
        return []
    errors = _complete_root(cfg)
    suggestions.fit(cfg, lambda most: None if errors else _num_training_images(cfg.data, most))
    return errors


def _complete_root(cfg: DictConfig) -> list[UserError]:
    kind = OmegaConf.get_type(cfg.data)
    if kind in published.NAMES and issubclass(kind, Downloadable):
        cfg.data.root = str(absolute(cfg.data.root or published.place(published.NAMES[kind])))
        name = published.NAMES[kind]
        error = published.absence(name, Path(cfg.data.root), cfg.data.download)
        return [] if error is None else [error]
    return _complete_folder(cfg) if kind is Folder else []


def _complete_folder(cfg: DictConfig) -> list[UserError]:
    name = cfg.data.published
    if OmegaConf.is_missing(cfg.data, "root") or (cfg.data.root is None and name is None):
        cfg.data.root = "???"
        cfg.data.num_classes = cfg.data.num_classes or 1  # so that other checks can go on
        return []
    root = absolute(cfg.data.root or published.place(name))
    cfg.data.root = str(root)
    how_to_get = HOW_TO_GET.get(name, "").format(root=root) or None
    try:
        classes = class_names(root, how_to_get)
        layout.labels(root)
    except UserError as error:
        cfg.data.num_classes = cfg.data.num_classes or 1
        return [error]
    if cfg.data.num_classes is None:
        cfg.data.num_classes = len(classes)
    if cfg.data.num_classes != len(classes):
        where = ", ".join(map(str, layout.split_folders(root, "train")))
        return [
            UserError(
                f"{where} holds {len(classes)} class folders, and {name or 'the configuration'} "
                f"has {cfg.data.num_classes}",
                "all of them, or the set as it is under data=imagefolder",
                f"data=imagefolder data.root={root}",
            )
        ]
    return []


def identity(data: Data) -> Any:
    """Returns what identifies the data beyond its configuration, as JSON values.

    A published set is known by its name. A folder of one's own is known by its class names and,
    for each split, its number of files and their bytes; where it lies does not matter.
    """
    if not isinstance(data, Folder) or data.published:
        return None
    root = Path(data.root)
    counts = {}
    for split in SPLITS:
        parts = [_walk(folder) for folder in layout.split_folders(root, split)]
        counts[split] = [sum(part.files for part in parts), sum(part.size for part in parts)]
    return {"classes": class_names(root), **counts}


def stamp(data: Data) -> dict[str, Any] | None:
    """Return what tells that files of the data changed in place, as JSON values.

    For a user's own folder this is a hash of each file's name, size and modification time; it is
    no part of the identity, because a copy of the data may have other times. None for other data.
    """
    if identity(data) is None:
        return None
    root = Path(data.root)
    parts = [_walk(folder) for split in SPLITS for folder in layout.split_folders(root, split)]
    digest = sha256("".join(part.digest for part in parts).encode()).hexdigest()
    return {"files": sum(part.files for part in parts), "digest": digest[:DIGITS]}


def split_errors(data: Data) -> list[UserError]:
    """Return the error of a `data.val_fraction` that leaves a split without an image, if any."""
    counts = num_images(data) if data.val_fraction else None
    if counts is None or (counts["train"] > 0 and counts["val"] > 0):
        return []
    whole = counts["train"] + counts["val"]
    return [
        UserError(
            f"data.val_fraction={data.val_fraction:g} of {whole} images leaves a split empty",
            "an image or more in each",
            "data.val_fraction=0.1",
        )
    ]


def num_images(data: Data) -> dict[str, int] | None:
    """Returns how many images {"train": .., "val": ..} a run trains on and evaluates.

    With `data.val_fraction` these are the two parts of the training split, and "test" is the
    evaluation split, as in `crate.data.loading.loader.load_splits`. Published sets but
    ImageNet-100 are taken at their published size, which needs no files; other folders are
    counted, once a process, without the unreadable images that `data.on_corrupt=skip` leaves out.
    None for a user's own data, which has to be built to be counted.
    """
    if data.is_own:
        return None
    name = published.name_of(data)
    if name in published.NUM_IMAGES:
        whole = published.NUM_IMAGES[name]
    else:
        whole = {split: _count_images(Path(data.root), split) for split in SPLITS}
    if not data.val_fraction:
        return dict(whole)
    num_val = round(data.val_fraction * whole["train"])
    return {"train": whole["train"] - num_val, "val": num_val, "test": whole["val"]}


class Files(NamedTuple):
    """The files below a folder: their number, their bytes, and a hash of names, sizes and times."""

    files: int
    size: int
    digest: str


@cache
def _walk(folder: Path) -> Files:
    """Return what the files below a folder are; walks it once a process."""
    files = size = 0
    digest = sha256()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        digest.update(os.fsencode(f"{os.path.relpath(parent, folder)}\0"))
        for name in sorted(names):
            state = os.stat(os.path.join(parent, name))
            files, size = files + 1, size + state.st_size
            digest.update(os.fsencode(f"{name}\0{state.st_size} {state.st_mtime_ns}\0"))
    return Files(files, size, digest.hexdigest())


def _num_training_images(data: DictConfig, most: int) -> int | None:
    """Return how many images of a user's own folder a run trains on, counted up to `most`.

    None for published sets, whose batch is chosen for them, and for a user's own class.
    """
    if OmegaConf.get_type(data) is not Folder or data._target_ != Folder._target_ or data.published:
        return None
    whole = _count_up_to(Path(data.root), math.ceil(most / (1 - data.val_fraction)) + 1)
    return whole - round(data.val_fraction * whole)


@cache
def _count_up_to(root: Path, at_most: int) -> int:
    return layout.count_images(root, "train", at_most)


@cache
def _count_images(root: Path, split: str) -> int:
    return layout.count_images(root, split)


def forget() -> None:
    """Clear the counts cached in this process, since files may change before its next run."""
    for function in (_walk, _count_up_to, _count_images):
        function.cache_clear()
