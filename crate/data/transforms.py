"""From a data set's image to the model's input.

B images of C channels, H x W pixels. A worker makes uint8 images of one size; scaling to floats
and normalising happen once a batch, on the training device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from crate.config.schema import Data, pair

Transform = Callable[..., object]


def evaluation(data: Data) -> v2.Compose:
    """Returns the transform of evaluation: an image -> (C, H, W), uint8.

    The shorter side is resized so that the central crop keeps `crop_pct` of it (224 / 256 on
    ImageNet); with `crop_pct` 1 the whole image is resized to (H, W), whatever its shape.
    """
    height, width = pair(data.img_size)
    if data.crop_pct == 1:
        steps = [v2.Resize((height, width), antialias=True)]
    else:
        shorter = math.floor(min(height, width) / data.crop_pct)
        steps = [v2.Resize(shorter, antialias=True), v2.CenterCrop((height, width))]
    return v2.Compose([_channels(data.in_chans), *steps])


def training(data: Data, augment: Transform | None) -> v2.Compose:
    """Returns the transform of training: `augment`, or without one that of evaluation."""
    return v2.Compose([_channels(data.in_chans), augment]) if augment else evaluation(data)


def no_augment(img_size: tuple[int, int]) -> None:
    """Returns no augmentation."""


def flip_crop(img_size: tuple[int, int], min_scale: float, flip_prob: float) -> v2.Compose:
    """Returns the paper's augmentation: random resized crop, then horizontal flip."""
    crop = v2.RandomResizedCrop(img_size, scale=(min_scale, 1.0), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(flip_prob)])


def randaugment(
    img_size: tuple[int, int],
    min_scale: float,
    flip_prob: float,
    num_ops: int,
    magnitude: int,
    fill: int,
) -> v2.Compose:
    """Returns the authors' fine-tuning augmentation: crop and flip, then RandAugment.

    RandAugment (arXiv 1909.13719) is torchvision's, with 31 strengths, and draws from torch's
    generator alone. It works on uint8 tensors here, where the authors' works on PIL images.
    """
    augment = v2.RandAugment(num_ops, magnitude, num_magnitude_bins=31, fill=fill)
    return v2.Compose([flip_crop(img_size, min_scale, flip_prob), augment])


def trivialaugment(
    img_size: tuple[int, int], min_scale: float, flip_prob: float, fill: int
) -> v2.Compose:
    """Returns crop and flip, then TrivialAugmentWide (arXiv 2103.10158), torchvision's."""
    return v2.Compose([flip_crop(img_size, min_scale, flip_prob), v2.TrivialAugmentWide(fill=fill)])


def _channels(in_chans: int) -> v2.Compose:
    """Returns a transform of any image to a uint8 tensor (in_chans, H, W)."""
    return v2.Compose([_Convert(in_chans), v2.ToImage(), v2.ToPureTensor()])


class _Convert(nn.Module):
    """Gives an image the asked channels: PIL images as PIL converts, tensors grey <-> RGB."""

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.in_chans = in_chans

    def forward(self, image: Image.Image | Tensor) -> Image.Image | Tensor:
        mode = {1: "L", 3: "RGB"}.get(self.in_chans)
        if isinstance(image, Image.Image):
            return image.convert(mode) if mode else image
        if image.shape[0] == self.in_chans or mode is None:
            return image
        return (
            functional.rgb_to_grayscale(image)
            if mode == "L"
            else functional.grayscale_to_rgb(image)
        )


class Normalize(nn.Module):
    """Scales uint8 images to [0, 1], then normalises each channel: (B, C, H, W) -> float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images.float().div_(255).sub_(self.mean).div_(self.std)
