"""torchvision's random resized crop and flip with the same draws and pixels, faster for uint8.

torchvision's transforms v2 take 150 us to crop and resize an image and as long to inspect their
arguments, which these skip. For inputs other than plain uint8 tensors they call torchvision.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

# torchvision resizes uint8 directly if torch has a kernel for it, otherwise through floats.
KERNEL_FOR_UINT8 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def is_plain(image: object) -> bool:
    """Return whether an image is a plain uint8 tensor on the CPU, not of a subclass of Tensor."""
    return type(image) is Tensor and image.dtype == torch.uint8 and image.device.type == "cpu"


class RandomResizedCrop(v2.RandomResizedCrop):
    """(C, H, W) -> (C, *size), bilinear with antialiasing.

    The memory format is kept: the kernel is fastest for images in memory as (H, W, C).
    """

    def forward(self, *inputs: Any) -> Any:
        image = inputs[0]
        if len(inputs) > 1 or not (KERNEL_FOR_UINT8 and is_plain(image)):
            return super().forward(*inputs)
        top, left, height, width = self.box(*image.shape[1:])
        return self.resized(image[:, top : top + height, left : left + width])

    def resized(self, crop: Tensor) -> Tensor:
        """Return a crop (C, h, w), uint8, resized to (C, *size), never as a view."""
        channels, height, width = crop.shape
        if (height, width) == tuple(self.size):
            return crop.clone()
        if channels == 3 and crop.stride(0) == 1:
            rows = crop.permute(1, 2, 0).contiguous()  # (h, w, C)
            # Strides that mark a batch of one as channels-last, which torch cannot infer.
            strides = (channels * height * width, 1, channels * width, channels)
            crop = rows.as_strided((1, channels, height, width), strides)
        else:
            crop = crop[None]
        return F.interpolate(crop, self.size, mode="bilinear", antialias=True)[0]

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) in pixels, drawn as torchvision draws them."""
        real, whole = self._drawn
        for _ in range(10):
            area = height * width * real.uniform_(*self.scale).item()
            ratio = real.uniform_(*self._log_limits).exp_().item()
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = int(whole.random_(0, height - h + 1).item())
                return top, int(whole.random_(0, width - w + 1).item()), h, w
        ratio = width / height  # none fits: the centre, in the nearest allowed shape
        h = height if ratio >= self.ratio[0] else round(width / self.ratio[0])
        w = width if ratio <= self.ratio[1] else round(height * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        return torch.empty(1), torch.empty(1, dtype=torch.int64)  # reused by every draw

    @cached_property
    def _log_limits(self) -> list[float]:
        return torch.log(torch.tensor(self.ratio)).tolist()


class RandomHorizontalFlip(v2.RandomHorizontalFlip):
    """(C, H, W) -> the same, or mirrored."""

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) > 1 or not is_plain(inputs[0]):
            return super().forward(*inputs)
        image = inputs[0]
        if not self.draw():
            return image
        if image.stride(0) == 1:  # (H, W, C) in memory
            return image.permute(1, 2, 0).flip(1).permute(2, 0, 1)
        return image.flip(-1)

    def draw(self) -> bool:
        """Return whether to mirror the next image, drawn as torchvision draws it."""
        drawn, limit = self._drawn
        return drawn.uniform_().item() < limit

    @cached_property
    def _drawn(self) -> tuple[Tensor, float]:
        return torch.empty(1), torch.tensor(self.p).item()  # torch compares in float32
