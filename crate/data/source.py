"""The images of a split as the transforms take them: tensors with the model's channels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Subset

from crate.data.images.channels import Channels
from crate.data.images.split import Split, whole


class Source:
    """Images of a split as tensors (in_chans, H, W), and labels.

    They are uint8 unless a user's own data set gives tensors of another type. Image files are read
    in the fastest way. `resize` is applied to each image.
    """

    def __init__(
        self, images: Split, in_chans: int, resize: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.images: Split = images
        self.indices: Sequence[int] = range(len(images))
        if isinstance(images, Subset) and (_names_files(whole(images)) or _is_plain(images)):
            self.images, self.indices = whole(images), images.indices
        self.notes: list[str] = getattr(self.images, "notes", [])
        self.num_channels, self.resize = in_chans, resize
        self._channels = Channels(in_chans)
        pixels = getattr(self.images, "pixels", None) if self.has_files else None
        self._read = pixels if in_chans == 3 and pixels else self.images.__getitem__

    @property
    def has_files(self) -> bool:
        """Whether the data set names the files of its images, so that they can be cached."""
        return _names_files(self.images)

    @property
    def paths(self) -> list[str]:
        """The files, in the order of the images."""
        paths = self.images.paths  # type: ignore[attr-defined]  # see has_files
        return [str(paths[index]) for index in self.indices]

    @property
    def labels(self) -> list[int]:
        """The labels, in the order of the images."""
        labels = self.images.labels  # type: ignore[attr-defined]  # see has_files
        return [int(labels[index]) for index in self.indices]

    @property
    def top(self) -> str:
        """The folder that all files share."""
        return os.path.commonpath([os.path.dirname(path) for path in self.paths])

    @property
    def resized_to(self) -> list[int]:
        """What `resize` resizes to: [shorter side] or [height, width]; [] without it."""
        return list(getattr(self.resize, "size", None) or [])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self._read(self.indices[index])
        image = self._channels(image)  # (C, H, W)
        return image if self.resize is None else self.resize(image), int(label)


def _names_files(images: Split) -> bool:
    """Return whether a data set names the files of its images and their labels."""
    return hasattr(images, "paths") and hasattr(images, "labels")


def _is_plain(part: Subset[Any]) -> bool:
    """Return whether a subset gives the images of its data set as they are."""
    return type(part).__getitem__ is Subset.__getitem__
