"""Images in files, one each, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from crate.data.images.image import read_image, read_pixels, to_tensor


class ImageFiles:
    """RGB images of `paths` and their `labels`; an image is read when it is asked for.

    Because the files are known, the images can be cached.
    """

    paths: Sequence[str | Path]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return read_image(self.paths[index]), self.labels[index]

    def pixels(self, index: int) -> tuple[Tensor, int]:
        """Return the same image as a uint8 tensor (3, H, W), which takes half the time."""
        return to_tensor(read_pixels(self.paths[index])), self.labels[index]
