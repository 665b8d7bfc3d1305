"""From the images of `crate.data.source.Source` to the model's input.

B images of C channels, H x W pixels. A worker makes uint8 images of one size, or for a GPU cuts
crops out of them. Resizing crops, scaling to floats and normalising happen once a batch, on the
training device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from crate.config.schema import Data, evaluation_px, pair
from crate.data.images.crop import RandomHorizontalFlip, RandomResizedCrop
from crate.data.images.device_crop import Cutter

Transform = Callable[[Tensor], Any]  # a user's own may return anything that can be collated


def evaluation(data: Data) -> v2.Compose:
    """Return the transform of evaluation: an image (C, h, w) -> (C, H, W).

    The shorter side is resized so that the central crop keeps `crop_pct` of it (224 / 256 on
    ImageNet). With `crop_pct` 1 the whole image is resized to (H, W), whatever its shape.
    """
    steps = [evaluation_resize(data)]
    if data.crop_pct != 1:
        steps.append(v2.CenterCrop(pair(data.img_size)))
    return v2.Compose(steps)


def evaluation_resize(data: Data) -> v2.Resize:
    """Return the resize that evaluation begins with; it leaves an image that it made unchanged."""
    if data.crop_pct == 1:
        return v2.Resize(pair(data.img_size), antialias=True)
    return v2.Resize(evaluation_px(data), antialias=True)


def training_resize(data: Data) -> v2.Resize | None:
    """Return the resize of training images before any augmentation, or None for full size."""
    return None if data.cache_px is None else v2.Resize(data.cache_px, antialias=True)


def training(data: Data, augment: Transform | None, resize_on_device: bool = False) -> Transform:
    """Return the transform of training: `augment`, or that of evaluation if there is none.

    With `resize_on_device`, if `augment` is our crop and flip and nothing more, the transform only
    draws and cuts: an image becomes a `Cut`, which the training device resizes.

    The pixels of an image may be those that the next epoch reads. An augmentation that does not
    begin with our crop, which copies, gets a copy.
    """
    if augment is None:
        return evaluation(data)
    if resize_on_device and (cutter := Cutter.of(augment)):
        return cutter
    return augment if _first(augment) is RandomResizedCrop else v2.Compose([torch.clone, augment])


def _first(transform: object) -> type:
    while isinstance(transform, v2.Compose):
        transform = transform.transforms[0]
    return type(transform)


def no_augment(img_size: tuple[int, int]) -> None:
    """Return no augmentation."""


def flip_crop(img_size: tuple[int, int], min_scale: float, flip_prob: float) -> v2.Compose:
    """Return the paper's augmentation: random resized crop, then horizontal flip."""
    crop = RandomResizedCrop(img_size, scale=(min_scale, 1.0), antialias=True)
    return v2.Compose([crop, RandomHorizontalFlip(flip_prob)])


def randaugment(
    img_size: tuple[int, int],
    min_scale: float,
    flip_prob: float,
    num_ops: int,
    magnitude: int,
    fill: int,
) -> v2.Compose:
    """Return the authors' fine-tuning augmentation: crop and flip, then RandAugment.

    RandAugment (arXiv 1909.13719) is torchvision's, with 31 strengths, and draws from torch's
    generator alone. It works on uint8 tensors here, on PIL images in the authors' code.
    """
    augment = v2.RandAugment(num_ops, magnitude, num_magnitude_bins=31, fill=fill)
    return v2.Compose([flip_crop(img_size, min_scale, flip_prob), augment])


def trivialaugment(
    img_size: tuple[int, int], min_scale: float, flip_prob: float, fill: int
) -> v2.Compose:
    """Return crop and flip, then torchvision's TrivialAugmentWide (arXiv 2103.10158)."""
    return v2.Compose([flip_crop(img_size, min_scale, flip_prob), v2.TrivialAugmentWide(fill=fill)])


class Normalize(nn.Module):
    """Scale uint8 images (B, C, H, W) to [0, 1], then normalise each channel; return float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        return images.div_(255).sub_(self.mean).div_(self.std)
