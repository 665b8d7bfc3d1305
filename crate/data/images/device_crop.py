"""Random resized crop and flip, drawn and cut out by a worker, resized on the training device.

A worker draws the box and the flip as `crate.data.images.crop` does, and hands the pixels of the
box over as they are. On the device a batch of B crops, of at most H x W pixels and C channels,
becomes uint8 images of one size, h x w. Bilinear resizing with antialiasing is linear in each
direction, so each crop has a matrix for its columns and one for its rows; mirroring a crop
mirrors the matrix of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from crate.data.images.crop import RandomHorizontalFlip, RandomResizedCrop, is_plain
from crate.data.images.memory import empty

MOST = 4  # times the pixels of the resized image: the most that is handed over of one
CHUNK_PX = 2**22  # pixels that are resized at a time, in 0.2 GB of floats and indices


class Cut(NamedTuple):
    """A crop (C, H, W), whether it is to be mirrored, and the (height, width) it is to have."""

    pixels: Tensor
    is_flipped: bool
    size: tuple[int, int]


class Cutter(nn.Module):
    """(C, H, W) -> Cut: the draws of a random resized crop and flip, without the resizing."""

    def __init__(self, crop: RandomResizedCrop, flip: RandomHorizontalFlip) -> None:
        super().__init__()
        self.crop, self.flip = crop, flip

    @classmethod
    def of(cls, augment: Any) -> Cutter | None:
        """Returns the cutter for an augmentation that is our crop and our flip and no more."""
        steps = augment.transforms if isinstance(augment, v2.Compose) else []
        if [type(step) for step in steps] != [RandomResizedCrop, RandomHorizontalFlip]:
            return None
        return cls(*steps)

    def forward(self, image: Tensor) -> Cut:
        size = tuple(self.crop.size)
        if not is_plain(image):
            return Cut(self.flip(self.crop(image)), False, size)
        top, left, height, width = self.crop.box(*image.shape[1:])
        pixels = image[:, top : top + height, left : left + width]
        most = MOST * size[0] * size[1]
        if height * width > most:
            pixels = self.crop.resized(pixels)
        elif image[0].numel() > most:
            pixels = pixels.clone()  # a view would keep all of a large image
        return Cut(pixels, self.flip.draw(), size)


@dataclass(frozen=True)
class Crops:
    """B crops on the CPU, one after the other, each to be resized to `size`."""

    pixels: Tensor  # (all pixels, C)
    table: Tensor  # (B, 4) int64: number of the first pixel, height, width, whether to mirror
    size: tuple[int, int]

    @classmethod
    def of(cls, cuts: Sequence[Cut]) -> Crops:
        """Returns the crops, copied one after the other, each (H, W, C)."""
        rows, first = [], 0
        for cut in cuts:
            _, height, width = cut.pixels.shape
            rows.append((first, height, width, cut.is_flipped))
            first += height * width
        pixels = empty((first, len(cuts[0].pixels)), cuts[0].pixels.dtype)
        for cut, (first, height, width, _) in zip(cuts, rows, strict=True):
            place = pixels[first : first + height * width].view(height, width, -1)
            place.copy_(cut.pixels.permute(1, 2, 0))
        return cls(pixels, torch.tensor(rows), cuts[0].size)

    def __len__(self) -> int:
        return len(self.table)

    def pin_memory(self) -> Crops:
        """Returns these in memory from which a GPU copies by itself."""
        return replace(self, pixels=self.pixels.pin_memory(), table=self.table.pin_memory())

    def resized(self, device: torch.device) -> Tensor:
        """Returns images (B, C, h, w) of the crops' type, on `device`.

        They are torchvision's numbers on a GPU: resized as floats, then rounded.
        """
        pixels, table = (each.to(device, non_blocking=True) for each in (self.pixels, self.table))
        height, width = self.table[:, 1:3].amax(0).tolist()  # from the CPU: no wait for the device
        images = pixels.new_empty(len(table), pixels.shape[1], *self.size)
        chunk = max(1, CHUNK_PX // (height * width))
        for part, place in zip(table.split(chunk), images.split(chunk), strict=True):
            found = resize(_padded(pixels, part, height, width), part, self.size)
            place.copy_(found if images.is_floating_point() else found.round_())
        return images


def _padded(pixels: Tensor, table: Tensor, height: int, width: int) -> Tensor:
    """Returns (B, height, width, C) float32: each crop, its last row and column repeated."""
    first, heights, widths, _ = table[:, :, None, None].unbind(1)  # (B, 1, 1)
    y = torch.arange(height, device=table.device)[:, None]  # (height, 1)
    x = torch.arange(width, device=table.device)  # (width,)
    index = first + y.minimum(heights - 1) * widths + x.minimum(widths - 1)
    return pixels[index].float()


def resize(crops: Tensor, table: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns (B, C, h, w) of padded crops (B, H, W, C), floats, resized and mirrored as asked."""
    count, height, width, channels = crops.shape
    _, heights, widths, is_flipped = table.unbind(1)
    down = weights(heights, height, size[0])  # (B, h, H)
    across = weights(widths, width, size[1], is_flipped.bool())  # (B, w, W)
    rows = down @ crops.reshape(count, height, width * channels)  # (B, h, W * C)
    rows = rows.view(count, size[0], width, channels).permute(0, 3, 1, 2)  # (B, C, h, W)
    resized = rows.reshape(count, channels * size[0], width) @ across.mT  # (B, C * h, w)
    return resized.view(count, channels, *size)


def weights(lengths: Tensor, longest: int, target: int, is_flipped: Tensor | None = None) -> Tensor:
    """Returns (B, target, longest): of what each new pixel is the mean, for B lengths (B,).

    The weights fall linearly from the new pixel's centre to 0 at a distance of one old pixel, or of
    one new pixel where those are larger: torch's bilinear interpolation, antialias=True.
    """
    lengths = lengths[:, None, None]  # (B, 1, 1)
    scale = lengths / target  # old pixels a new one
    new = torch.arange(target, device=lengths.device)[:, None]  # (target, 1)
    if is_flipped is not None:
        new = torch.where(is_flipped[:, None, None], target - 1 - new, new)
    old = torch.arange(longest, device=lengths.device)
    distance = (old + 0.5 - scale * (new + 0.5)).abs() / scale.clamp(min=1)
    found = (1 - distance).clamp(min=0) * (old < lengths)
    return found / found.sum(-1, keepdim=True)
