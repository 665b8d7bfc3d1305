"""A split whose images are files: read the fastest way, and resized where that comes first."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Subset

from crate.data.transforms import Channels


class Source:
    """Images of a split as uint8 tensors (C, H, W), and labels.

    `images` has `paths` and `labels` beside what any data set has; a `Subset` of such will do.
    `resize` is applied to each image, None leaves it as it is.
    """

    def __init__(
        self, images: Any, in_chans: int, resize: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        is_part = isinstance(images, Subset)
        self.images = images.dataset if is_part else images
        self.indices: Sequence[int] = images.indices if is_part else range(len(images))
        self.notes: list[str] = getattr(self.images, "notes", [])
        self.num_channels = in_chans
        self.resize, self._channels = resize, Channels(in_chans)
        is_quick = in_chans == 3 and hasattr(self.images, "pixels")
        self._read = self.images.pixels if is_quick else self.images.__getitem__

    @staticmethod
    def fits(images: Any) -> bool:
        """Tells whether a data set names the files of its images."""
        whole = images.dataset if isinstance(images, Subset) else images
        return hasattr(whole, "paths") and hasattr(whole, "labels")

    @property
    def paths(self) -> list[str]:
        """The files, in the order of the images."""
        return [str(self.images.paths[index]) for index in self.indices]

    @property
    def top(self) -> str:
        """The folder that all files share."""
        return os.path.commonpath([os.path.dirname(path) for path in self.paths])

    @property
    def labels(self) -> list[int]:
        """The labels, in the order of the images."""
        return [int(self.images.labels[index]) for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self._read(self.indices[index])
        image = self._channels(image)  # (C, H, W)
        return image if self.resize is None else self.resize(image), int(label)
