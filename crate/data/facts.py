"""What the files on disk say of a data set before training: that they are there, and which.

Imports no torch, so that a launch can check and identify data at once.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from crate.config.check import CHECKOUT
from crate.config.errors import UserError, shorten
from crate.config.schema import Data, Digits, FashionMNIST, Folder

SPLITS = ("train", "val")
IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "val": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
NUM_IMAGES = {
    "digits": {"train": 1_437, "val": 360},
    "fashion_mnist": {"train": 60_000, "val": 10_000},
    "imagenet1k": {"train": 1_281_167, "val": 50_000},
}
IMAGE_SUFFIXES = tuple(".jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp".split())  # torchvision's


def complete(cfg: DictConfig) -> list[UserError]:
    """Fills `cfg.data.num_classes` where the files decide it; returns what is missing or wrong."""
    kind = OmegaConf.get_type(cfg.data)
    if kind not in (Folder, FashionMNIST):
        return []
    if OmegaConf.is_missing(cfg.data, "root"):
        cfg.data.num_classes = cfg.data.num_classes or 1  # so that other checks can go on
        return []
    root = CHECKOUT / Path(cfg.data.root).expanduser()
    if kind is FashionMNIST:
        return _missing_idx_files(root)
    try:
        classes = class_names(root)
    except UserError as error:
        cfg.data.num_classes = cfg.data.num_classes or 1
        return [error]
    if cfg.data.num_classes is None:
        cfg.data.num_classes = len(classes)
    if cfg.data.num_classes != len(classes):
        name = cfg.data.published or "the configuration"
        return [
            UserError(
                f"{root / 'train'} holds {len(classes)} class folders, and {name} has "
                f"{cfg.data.num_classes}",
                "all of them, or the set as it is under data=imagefolder",
                f"data=imagefolder data.root={root}",
            )
        ]
    return []


def class_names(root: Path) -> list[str]:
    """Returns the class folders below `root`/train, which `root`/val must have too."""
    found = {}
    for split in SPLITS:
        folder = root / split
        if not folder.is_dir():
            raise UserError(
                f"there is no data in {root}: {folder} is missing",
                "a folder with train/<class>/ and val/<class>/",
                "data.root=FOLDER",
            )
        found[split] = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        if not found[split]:
            raise UserError(f"{folder} has no class folders", "one folder a class")
    odd = sorted(set(found["train"]) ^ set(found["val"]))
    if odd:
        raise UserError(
            f"classes differ between train/ and val/ in {root}: {shorten(odd, 5)}",
            "the same class folders in both",
        )
    return found["train"]


def identity(data: Data) -> Any:
    """Returns what identifies the data beyond its configuration, as JSON values.

    A published set is known by its name. A folder of one's own is known by its class names and,
    for each split, its number of files and their bytes; where it lies does not matter.
    """
    if not isinstance(data, Folder) or data.published:
        return None
    root = Path(data.root)
    counts = {split: list(_count(root / split)) for split in SPLITS}
    return {"classes": class_names(root), **counts}


def num_images(data: Data) -> dict[str, int] | None:
    """Returns how many images {"train": .., "val": ..} a run trains on and evaluates.

    With `data.val_fraction` these are the two parts of the training split, and "test" is the
    evaluation split, as `crate.data.loader.load_splits` has them. ImageNet-1K is taken at its
    published size; other folders are counted, once a process. None where only building the data
    tells: a user's own.
    """
    if data._target_ != type(data)._target_:  # a class of one's own
        return None
    names = {Digits: "digits", FashionMNIST: "fashion_mnist"}
    name = data.published if isinstance(data, Folder) else names[type(data)]
    if name in NUM_IMAGES:
        whole = NUM_IMAGES[name]
    else:
        whole = {split: _count_images(Path(data.root) / split) for split in SPLITS}
    if not data.val_fraction:
        return dict(whole)
    num_val = round(data.val_fraction * whole["train"])
    return {"train": whole["train"] - num_val, "val": num_val, "test": whole["val"]}


def idx_file(root: Path, name: str) -> Path | None:
    """Returns an idx file of `root`, plain or gzipped, or None where there is neither."""
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _missing_idx_files(root: Path) -> list[UserError]:
    names = [name for split in SPLITS for name in IDX_FILES[split]]
    missing = [name for name in names if idx_file(root, name) is None]
    if not missing:
        return []
    return [
        UserError(
            f"no Fashion-MNIST in {root}: {shorten(missing)} missing",
            "a folder of the four idx files, .gz or not (Debian: dataset-fashion-mnist)",
            "data.root=/usr/share/datasets/fashion-mnist",
        )
    ]


@cache
def _count(folder: Path) -> tuple[int, int]:
    """Returns the number of files below a folder and their bytes; walks it once a process."""
    files = size = 0
    for parent, _, names in os.walk(folder, followlinks=True):
        files += len(names)
        size += sum(os.stat(os.path.join(parent, name)).st_size for name in names)
    return files, size


@cache
def _count_images(folder: Path) -> int:
    """Returns the number of images that torchvision's ImageFolder finds in the class folders.

    Unlike `_count` it follows links, takes images alone and asks no file for its size.
    """
    classes = [entry.path for entry in os.scandir(folder) if entry.is_dir()]
    return sum(
        name.lower().endswith(IMAGE_SUFFIXES)
        for path in classes
        for _, _, names in os.walk(path, followlinks=True)
        for name in names
    )
