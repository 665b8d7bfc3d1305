"""torchvision's random resized crop and flip, the same draws and pixels, for uint8 tensors sooner.

Of an image that is cropped and resized in 150 us torchvision's transforms v2 spend as much again on
looking through their arguments. What these do not know they leave to torchvision.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

# torchvision resizes uint8 as it is where torch has a kernel for that, else by way of floats
KERNEL_FOR_UINT8 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def is_plain(image: Any) -> bool:
    """Tells whether an image is a uint8 tensor (C, H, W) on the CPU and nothing more special."""
    return type(image) is Tensor and image.dtype == torch.uint8 and image.device.type == "cpu"


class RandomResizedCrop(v2.RandomResizedCrop):
    """(C, H, W) -> (C, *size), bilinear with antialiasing.

    An image in memory as (H, W, C) stays so, which the kernel is quickest at.
    """

    def forward(self, *inputs: Any) -> Any:
        image = inputs[0]
        if len(inputs) > 1 or not (KERNEL_FOR_UINT8 and is_plain(image)):
            return super().forward(*inputs)
        top, left, height, width = self._box(*image.shape[1:])
        crop = image[:, top : top + height, left : left + width]
        if (height, width) == tuple(self.size):
            return crop.clone()
        channels = len(crop)
        if channels != 3 or image.stride(0) != 1:
            return F.interpolate(crop[None], self.size, mode="bilinear", antialias=True)[0]
        rows = torch.from_numpy(np.ascontiguousarray(crop.permute(1, 2, 0).numpy()))  # (h, w, C)
        # the strides say that it is channels-last, which those of a batch of one leave open
        strides = (channels * height * width, 1, channels * width, channels)
        crop = rows.as_strided((1, channels, height, width), strides)
        return F.interpolate(crop, self.size, mode="bilinear", antialias=True)[0]

    def _box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Returns (top, left, height, width) in pixels; torchvision's numbers, from its draws."""
        for _ in range(10):
            area = height * width * torch.empty(1).uniform_(*self.scale).item()
            ratio = torch.empty(1).uniform_(*self._log_limits).exp_().item()
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = torch.randint(height - h + 1, (1,)).item()
                return top, torch.randint(width - w + 1, (1,)).item(), h, w
        ratio = width / height  # none fits: the middle, as near to the asked shapes as it can be
        h = height if ratio >= self.ratio[0] else round(width / self.ratio[0])
        w = width if ratio <= self.ratio[1] else round(height * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w

    @cached_property
    def _log_limits(self) -> list[float]:
        return torch.log(torch.tensor(self.ratio)).tolist()


class RandomHorizontalFlip(v2.RandomHorizontalFlip):
    """(C, H, W) -> the same, or mirrored."""

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) > 1 or not is_plain(inputs[0]):
            return super().forward(*inputs)
        image = inputs[0]
        if torch.rand(1) >= self.p:
            return image
        if image.stride(0) == 1:  # (H, W, C) in memory
            return image.permute(1, 2, 0).flip(1).permute(2, 0, 1)
        return image.flip(-1)
