"""The published sets that torchvision reads: CIFAR-10, CIFAR-100, Flowers-102, Oxford-IIIT Pets.

`crate.data.published.PUBLISHED` describes how torchvision reads each; "val" is the test split. The
images of CIFAR are in memory; those of the others are files, read by `crate.data.images.image`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from torchvision import datasets

from crate.data.images.image_files import ImageFiles
from crate.data.published import PUBLISHED
from crate.data.published.descriptor import Torchvision
from crate.data.published.download import ensure
from crate.errors import UserError


def load(split: str, root: str, published: str, download: bool = True) -> InMemory | Files:
    """Return one split of the set named `published`, which is downloaded if it is missing."""
    kind = InMemory if PUBLISHED[published].is_in_memory else Files
    return kind(split, root, download, name=published)


class InMemory:
    """RGB images, as PIL images, and labels of one split of a set that is held in memory."""

    name: str

    def __init__(self, split: str, root: str, download: bool = True, name: str = "") -> None:
        self.name = name or self.name
        self.images, _ = _read(self.name, split, root, download)
        self.classes = getattr(self.images, "classes", None)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[index]


class Files(ImageFiles):
    """RGB images and labels of one split of a set of image files."""

    name: str

    def __init__(self, split: str, root: str, download: bool = True, name: str = "") -> None:
        self.name = name or self.name
        images, reader = _read(self.name, split, root, download)
        assert reader.paths and reader.labels, self.name
        self.paths, self.labels = getattr(images, reader.paths), getattr(images, reader.labels)
        self.classes = getattr(images, "classes", None)  # not in every version of torchvision


class CIFAR10(InMemory):
    """CIFAR-10: 50,000 images to train, 10,000 to evaluate."""

    name = "cifar10"


class CIFAR100(InMemory):
    """CIFAR-100: 50,000 images to train, 10,000 to evaluate, fine labels."""

    name = "cifar100"


class Flowers(Files):
    """Flowers-102: train (1,020) and, as "val", test (6,149); the published val split is unused."""

    name = "flowers"


class Pets(Files):
    """Oxford-IIIT Pets by breed: trainval (3,680) and, as "val", test (3,669)."""

    name = "pets"


def _read(name: str, split: str, root: str, download: bool) -> tuple[Any, Torchvision]:
    """Return torchvision's data set of a split, and how it is read.

    Raise UserError if a file is not the published one.
    """
    published = PUBLISHED[name]
    ensure(published, Path(root), download)
    reader = published.torchvision
    assert reader is not None, name
    try:
        kind = getattr(datasets, reader.dataset)
        return kind(root, **{"train": reader.train, "val": reader.val}[split]), reader
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        raise UserError(
            f"{name} in {root} cannot be read: its files are torn or not the published ones "
            f"({str(error).splitlines()[0]})",
            "the published files, or an empty folder to download to",
            "data.root=FOLDER",
        ) from error
