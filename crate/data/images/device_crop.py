"""Random resized crop and flip: a worker draws and cuts them, the training device resizes them.

A worker draws the box and the flip as `crate.data.images.crop` does, and sends the pixels of the
box. On the device a batch of B crops, of at most H x W pixels and C channels, becomes images of one
size, h x w. Bilinear resizing with antialiasing is linear in each direction, so it is two matrix
products a crop, one for its columns and one for its rows. To mirror a crop, the second is mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from crate.data.images.crop import RandomHorizontalFlip, RandomResizedCrop, is_plain
from crate.data.images.memory import empty

MOST = 4  # a crop of more than this many times the resized pixels is resized by the worker
CHUNK_PX = 2**22  # pixels resized at a time, which takes 0.2 GB of floats and indices


class Cut(NamedTuple):
    """A crop (C, H, W), whether to mirror it, and the (height, width) to resize it to."""

    pixels: Tensor
    is_flipped: bool
    size: tuple[int, int]


class Cutter(nn.Module):
    """(C, H, W) -> Cut: random resized crop and flip, without the resizing."""

    def __init__(self, crop: RandomResizedCrop, flip: RandomHorizontalFlip) -> None:
        super().__init__()
        self.crop, self.flip = crop, flip

    @classmethod
    def of(cls, augment: object) -> Cutter | None:
        """Return the cutter of an augmentation that is our crop and flip alone, otherwise None."""
        steps = augment.transforms if isinstance(augment, v2.Compose) else []
        if [type(step) for step in steps] != [RandomResizedCrop, RandomHorizontalFlip]:
            return None
        return cls(*steps)

    def forward(self, image: Tensor) -> Cut:
        size = (self.crop.size[0], self.crop.size[1])
        if not is_plain(image):
            return Cut(self.flip(self.crop(image)), False, size)
        top, left, height, width = self.crop.box(*image.shape[1:])
        pixels = image[:, top : top + height, left : left + width]
        most = MOST * size[0] * size[1]
        if height * width > most:
            pixels = self.crop.resized(pixels)
        elif image[0].numel() > most:
            pixels = pixels.clone()  # a view would keep a large image in memory
        return Cut(pixels, self.flip.draw(), size)


@dataclass(frozen=True)
class Crops:
    """B crops on the CPU, stored one after the other, to be resized to `size`."""

    pixels: Tensor  # (all pixels, C)
    table: Tensor  # (B, 4) int64: number of the first pixel, height, width, whether to mirror
    size: tuple[int, int]

    @classmethod
    def of(cls, cuts: Sequence[Cut]) -> Crops:
        """Return the crops, copied one after the other, each (H, W, C)."""
        rows, first = [], 0
        for cut in cuts:
            _, height, width = cut.pixels.shape
            rows.append((first, height, width, cut.is_flipped))
            first += height * width
        pixels = empty((first, len(cuts[0].pixels)), cuts[0].pixels.dtype)
        for cut, (first, height, width, _) in zip(cuts, rows, strict=True):
            target = pixels[first : first + height * width].view(height, width, -1)
            target.copy_(cut.pixels.permute(1, 2, 0))
        return cls(pixels, torch.tensor(rows), cuts[0].size)

    def __len__(self) -> int:
        return len(self.table)

    def pin_memory(self) -> Crops:
        """Return the crops in page-locked memory, from which a GPU copies asynchronously."""
        return replace(self, pixels=self.pixels.pin_memory(), table=self.table.pin_memory())

    def resized(self, device: torch.device) -> Tensor:
        """Return images (B, C, h, w) of the crops' type, on `device`.

        They are resized as floats and then rounded, as torchvision does on a GPU.
        """
        pixels, table = (each.to(device, non_blocking=True) for each in (self.pixels, self.table))
        height, width = self.table[:, 1:3].amax(0).tolist()  # without waiting for the device
        images = pixels.new_empty(len(table), pixels.shape[1], *self.size)
        chunk = max(1, CHUNK_PX // (height * width))
        for part, target in zip(table.split(chunk), images.split(chunk), strict=True):
            resized = resize(_padded(pixels, part, height, width), part, self.size)
            target.copy_(resized if images.is_floating_point() else resized.round_())
        return images


def _padded(pixels: Tensor, table: Tensor, height: int, width: int) -> Tensor:
    """Return crops as (B, height, width, C), float32, padded with their last row and column."""
    first, heights, widths, _ = table[:, :, None, None].unbind(1)  # (B, 1, 1)
    y = torch.arange(height, device=table.device)[:, None]  # (height, 1)
    x = torch.arange(width, device=table.device)  # (width,)
    index = first + y.minimum(heights - 1) * widths + x.minimum(widths - 1)
    return pixels[index].float()


def resize(crops: Tensor, table: Tensor, size: tuple[int, int]) -> Tensor:
    """Return padded crops (B, H, W, C), floats, resized and mirrored, as (B, C, h, w)."""
    count, height, width, channels = crops.shape
    _, heights, widths, is_flipped = table.unbind(1)
    down = weights(heights, height, size[0])  # (B, h, H)
    across = weights(widths, width, size[1], is_flipped.bool())  # (B, w, W)
    rows = down @ crops.reshape(count, height, width * channels)  # (B, h, W * C)
    rows = rows.view(count, size[0], width, channels).permute(0, 3, 1, 2)  # (B, C, h, W)
    resized = rows.reshape(count, channels * size[0], width) @ across.mT  # (B, C * h, w)
    return resized.view(count, channels, *size)


def weights(lengths: Tensor, longest: int, target: int, is_flipped: Tensor | None = None) -> Tensor:
    """Return the weights (B, target, longest) of the old pixels in each new one, for lengths (B,).

    They fall linearly from the new pixel's centre to 0 at a distance of one old pixel, or of one
    new pixel if that is larger, as in torch's bilinear interpolation with antialias=True.
    """
    lengths = lengths[:, None, None]  # (B, 1, 1)
    scale = lengths / target  # old pixels per new one
    new = torch.arange(target, device=lengths.device)[:, None]  # (target, 1)
    if is_flipped is not None:
        new = torch.where(is_flipped[:, None, None], target - 1 - new, new)
    old = torch.arange(longest, device=lengths.device)
    distance = (old + 0.5 - scale * (new + 0.5)).abs() / scale.clamp(min=1)
    falling = (1 - distance).clamp(min=0) * (old < lengths)
    return falling / falling.sum(-1, keepdim=True)
