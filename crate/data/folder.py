"""Images in folders, one a class."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import ImageFolder


class Folder(ImageFolder):
    """RGB images and labels below `root`/`split`/<class>/; classes in the order of their names."""

    def __init__(self, split: str, root: str) -> None:
        super().__init__(Path(root) / split)
