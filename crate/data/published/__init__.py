"""Published data sets: each row of `PUBLISHED` describes one.

To add a set, add a row here and a file `conf/data/NAME.yaml` with `published: NAME`. The schema is
`Downloaded` for a set that torchvision reads, and `Folder` for a tree of image folders. Imports no
torch, so that a launch can check data before anything starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from crate.config import schema
from crate.config.schema import Data
from crate.data.published.descriptor import Published, Torchvision
from crate.paths import absolute

CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
IDX_FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")

_ROWS = (
    Published(
        name="digits",
        schema=schema.Digits,
        num_images={"train": 1_437, "val": 360},
        is_in_memory=True,
    ),
    Published(
        name="fashion_mnist",
        schema=schema.FashionMNIST,
        num_images={"train": 60_000, "val": 10_000},
        is_in_memory=True,
        torchvision=Torchvision(
            dataset="FashionMNIST", train={"train": True}, val={"train": False}
        ),
        files=tuple(f"{part}-{file}" for part in ("train", "t10k") for file in IDX_FILES),
        subfolders=("", "FashionMNIST/raw"),
        system_folder=Path("/usr/share/datasets/fashion-mnist"),  # Debian: dataset-fashion-mnist
    ),
    Published(
        name="cifar10",
        schema=schema.CIFAR10,
        num_images={"train": 50_000, "val": 10_000},
        is_in_memory=True,
        torchvision=Torchvision(dataset="CIFAR10", train={"train": True}, val={"train": False}),
        files=tuple(f"cifar-10-batches-py/{file}" for file in CIFAR10_FILES),
    ),
    Published(
        name="cifar100",
        schema=schema.CIFAR100,
        num_images={"train": 50_000, "val": 10_000},
        is_in_memory=True,
        torchvision=Torchvision(dataset="CIFAR100", train={"train": True}, val={"train": False}),
        files=tuple(f"cifar-100-python/{file}" for file in ("train", "test", "meta")),
    ),
    Published(
        name="flowers",
        schema=schema.Flowers,
        num_images={"train": 1_020, "val": 6_149},
        torchvision=Torchvision(
            dataset="Flowers102",
            train={"split": "train"},
            val={"split": "test"},
            paths="_image_files",
            labels="_labels",
        ),
        files=tuple(f"flowers-102/{file}" for file in ("jpg", "imagelabels.mat", "setid.mat")),
    ),
    Published(
        name="pets",
        schema=schema.Pets,
        num_images={"train": 3_680, "val": 3_669},
        torchvision=Torchvision(
            dataset="OxfordIIITPet",
            train={"split": "trainval"},
            val={"split": "test"},
            paths="_images",
            labels="_labels",
        ),
        files=tuple(
            f"oxford-iiit-pet/{file}"
            for file in ("images", "annotations/trainval.txt", "annotations/test.txt")
        ),
    ),
    Published(
        name="imagenet100",
        schema=schema.Folder,
        how_to_get="its Kaggle download, unpacked as it is (train.X1 to train.X4, val.X, "
        "Labels.json): kaggle datasets download ambityga/imagenet100 --unzip -p {root}",
    ),
    Published(
        name="imagenet1k",
        schema=schema.Folder,
        num_images={"train": 1_281_167, "val": 50_000},
        how_to_get="train/ and val/ with one folder per WordNet id (image-net.org, ILSVRC 2012)",
    ),
)
PUBLISHED: dict[str, Published] = {row.name: row for row in _ROWS}


def name_of(data: Data) -> str | None:
    """Return the name of the published set that a data node configures; None for a user's own."""
    if isinstance(data, schema.Folder | schema.Downloaded):
        return data.published
    return next((row.name for row in _ROWS if row.schema is type(data)), None)


def default_root(name: str) -> Path:
    """Return the folder of a published set where `data.root` names none.

    That is CRATE_DATA/<name> if this variable is set, otherwise data/<name> in the checkout. If the
    set is not there and a package of the system has it, return the package's folder.
    """
    folder = absolute(os.environ.get("CRATE_DATA") or "data") / name
    row = PUBLISHED.get(name)
    if row is None or row.system_folder is None or not row.missing(folder):
        return folder
    return folder if row.missing(row.system_folder) else row.system_folder
