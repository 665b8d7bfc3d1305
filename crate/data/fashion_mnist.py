"""Fashion-MNIST, read from its idx files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crate.data.published import IDX_FILES, PUBLISHED
from crate.data.published.download import ensure
from crate.errors import UserError

PUBLISHED_AS = PUBLISHED["fashion_mnist"]
PREFIXES = {"train": "train", "val": "t10k"}  # of the files of a split
UINT8 = 0x08
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


class FashionMNIST:
    """Images (1, 28, 28), uint8, and labels of one split; "val" is the published test split."""

    classes = CLASSES

    def __init__(self, split: str, root: str, download: bool = True) -> None:
        folder, names = Path(root), [f"{PREFIXES[split]}-{file}" for file in IDX_FILES]
        if any(PUBLISHED_AS.find(folder, name) is None for name in names):
            ensure(PUBLISHED_AS, folder, download)
        images, labels = (_read_idx(folder, name) for name in names)
        self.images = torch.from_numpy(images).unsqueeze(1)
        self.labels = labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


def _read_idx(root: Path, name: str) -> np.ndarray:
    """Return the array of an idx file: two zero bytes, type, rank, big-endian sizes, values.

    Raise UserError if the file is missing or damaged.
    """
    path = PUBLISHED_AS.find(root, name)
    if path is None:
        raise UserError(f"{root / name} is missing", fix="data.root=FOLDER")
    try:
        content = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    header = np.frombuffer(content[:4], np.uint8)
    if len(header) < 4 or header[2] != UINT8:
        raise UserError(f"{path} is not an idx file of bytes", fix="data.root=FOLDER")
    start = 4 + 4 * int(header[3])
    shape = np.frombuffer(content[4:start], ">u4")
    values = np.frombuffer(content[start:], np.uint8)
    if values.size != shape.prod():
        raise UserError(f"{path} is torn: {values.size} values for shape {shape.tolist()}")
    return values.reshape(shape).copy()
