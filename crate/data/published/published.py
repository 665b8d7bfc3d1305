"""Where the published sets lie that torchvision downloads, and of which files they consist.

Imports no torch, so that a launch can tell what is missing before anything starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from crate.config.schema import (
    CIFAR10,
    CIFAR100,
    Data,
    Digits,
    FashionMNIST,
    Flowers,
    Folder,
    Pets,
)
from crate.errors import UserError, shorten
from crate.paths import absolute

NAMES: dict[type, str] = {
    Digits: "digits",
    FashionMNIST: "fashion_mnist",
    CIFAR10: "cifar10",
    CIFAR100: "cifar100",
    Flowers: "flowers",
    Pets: "pets",
}
NUM_IMAGES = {
    "digits": {"train": 1_437, "val": 360},
    "fashion_mnist": {"train": 60_000, "val": 10_000},
    "cifar10": {"train": 50_000, "val": 10_000},
    "cifar100": {"train": 50_000, "val": 10_000},
    "flowers": {"train": 1_020, "val": 6_149},
    "pets": {"train": 3_680, "val": 3_669},
    "imagenet1k": {"train": 1_281_167, "val": 50_000},
}
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
FASHION_RAW = "FashionMNIST/raw"  # where torchvision puts the idx files
IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "val": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# What torchvision reads, below a set's folder.
_CIFAR10 = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
FILES: dict[str, tuple[str, ...]] = {
    "cifar10": tuple(f"cifar-10-batches-py/{name}" for name in _CIFAR10),
    "cifar100": tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
    "flowers": tuple(f"flowers-102/{name}" for name in ("jpg", "imagelabels.mat", "setid.mat")),
    "pets": tuple(
        f"oxford-iiit-pet/{name}"
        for name in ("images", "annotations/trainval.txt", "annotations/test.txt")
    ),
}


def name_of(data: Data) -> str | None:
    """Returns the name of the published set that a data node is; None for one's own."""
    return data.published if isinstance(data, Folder) else NAMES.get(type(data))


def place(name: str) -> Path:
    """Returns the folder of a published set where `data.root` names none.

    That is CRATE_DATA/<name> where this variable is set, else data/<name> below the checkout.
    Fashion-MNIST is taken from Debian's package where it is not there and that is installed.
    """
    folder = absolute(os.environ.get("CRATE_DATA") or "data") / name
    if name == "fashion_mnist" and missing(name, folder) and not missing(name, DEBIAN_FASHION):
        return DEBIAN_FASHION
    return folder


def missing(name: str, root: Path) -> list[str]:
    """Returns the files of a downloadable set that `root` does not hold."""
    if name == "fashion_mnist":
        names = [name for split in IDX_FILES.values() for name in split]
        return [name for name in names if idx_file(root, name) is None]
    return [name for name in FILES[name] if not (root / name).exists()]


def idx_file(root: Path, name: str) -> Path | None:
    """Returns an idx file of Fashion-MNIST below `root`, plain or gzipped; None: neither is there.

    They lie in `root` itself, as Debian has them, or in FashionMNIST/raw, as torchvision does.
    """
    for folder in (root, root / FASHION_RAW):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def absence(name: str, root: Path, download: bool) -> UserError | None:
    """Returns what to say of a set that is not there and may not be downloaded, or None."""
    absent = [] if download else missing(name, root)
    if not absent:
        return None
    return UserError(
        f"no {name} in {root}: {shorten(absent, 4)} missing, and data.download=false",
        "a folder with torchvision's files of the set, or a download",
        "data.download=true, or data.root=FOLDER",
    )
