"""The published sets that torchvision reads: CIFAR-10, CIFAR-100, Flowers-102, Oxford-IIIT Pets.

"val" is the test split of each. CIFAR's images are in memory, those of the others are files, read
as `crate.data.images.image` reads any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from torchvision import datasets

from crate.data.images.image_files import ImageFiles
from crate.data.published.download import ensure
from crate.errors import UserError


class _CIFAR:
    """Images of 32 x 32 pixels, RGB, and labels of one split."""

    name: str

    def __init__(self, split: str, root: str, download: bool = True) -> None:
        kind = getattr(datasets, self.name.upper())
        ensure(self.name, Path(root), download, lambda folder: kind(folder, download=True))
        self.images = _read(self.name, root, lambda: kind(root, train=split == "train"))
        self.classes = self.images.classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[index]


class CIFAR10(_CIFAR):
    """CIFAR-10: 50,000 images to train, 10,000 to evaluate."""

    name = "cifar10"


class CIFAR100(_CIFAR):
    """CIFAR-100: 50,000 images to train, 10,000 to evaluate, fine labels."""

    name = "cifar100"


class Flowers(ImageFiles):
    """Flowers-102: train (1,020) and, as "val", test (6,149); its own val split is unused."""

    def __init__(self, split: str, root: str, download: bool = True) -> None:
        kind, theirs = datasets.Flowers102, {"train": "train", "val": "test"}[split]
        ensure("flowers", Path(root), download, lambda folder: kind(folder, download=True))
        found = _read("flowers", root, lambda: kind(root, split=theirs))
        self.paths, self.labels = found._image_files, found._labels
        self.classes = getattr(found, "classes", None)  # not in every version of torchvision


class Pets(ImageFiles):
    """Oxford-IIIT Pets by breed: trainval (3,680) and, as "val", test (3,669)."""

    def __init__(self, split: str, root: str, download: bool = True) -> None:
        kind, theirs = datasets.OxfordIIITPet, {"train": "trainval", "val": "test"}[split]
        ensure("pets", Path(root), download, lambda folder: kind(folder, download=True))
        found = _read("pets", root, lambda: kind(root, split=theirs))
        self.paths, self.labels = found._images, found._labels
        self.classes = found.classes


def _read(name: str, root: str, build: Any) -> Any:
    """Returns torchvision's data set; raises UserError where its files are not the published."""
    try:
        return build()
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        raise UserError(
            f"{name} in {root} cannot be read: its files are torn or not the published ones "
            f"({str(error).splitlines()[0]})",
            "the published files, or an empty folder to download to",
            "data.root=FOLDER",
        ) from error
