"""What a data set has to be: images and labels, by index."""

from __future__ import annotations

from typing import Any, Protocol


class Split(Protocol):
    """One split of a data set, such as a user's own class returns.

    An item is an image, a PIL image or a uint8 tensor (C, H, W), and its label, an int. A split may
    also have `classes`, the names of the classes, and `notes`, lines for the log. If it has `paths`
    and `labels`, lists of the image files and their labels, its images can be cached.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...


def whole(images: Split) -> Split:
    """Return the data set that `images` wraps as `dataset`, as `torch.utils.data.Subset` does."""
    return getattr(images, "dataset", images)
