"""From a data set's image to the model's input.

B images of C channels, H x W pixels. A worker makes uint8 images of one size, or for a GPU cuts
crops out of them; what is left, resizing crops, scaling to floats and normalising, happens once a
batch, on the training device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from crate.config.schema import Data, evaluation_px, pair
from crate.data.images.crop import RandomHorizontalFlip, RandomResizedCrop
from crate.data.images.device_crop import Cutter

Transform = Callable[..., object]


def evaluation(data: Data) -> v2.Compose:
    """Returns the transform of evaluation: an image -> (C, H, W), uint8.

    The shorter side is resized so that the central crop keeps `crop_pct` of it (224 / 256 on
    ImageNet); with `crop_pct` 1 the whole image is resized to (H, W), whatever its shape.
    """
    steps = [evaluation_resize(data)]
    if data.crop_pct != 1:
        steps.append(v2.CenterCrop(pair(data.img_size)))
    return v2.Compose([Channels(data.in_chans), *steps])


def evaluation_resize(data: Data) -> v2.Resize:
    """Returns the resize that evaluation begins with; of what it returned it changes nothing."""
    if data.crop_pct == 1:
        return v2.Resize(pair(data.img_size), antialias=True)
    return v2.Resize(evaluation_px(data), antialias=True)


def training_resize(data: Data) -> v2.Resize | None:
    """Returns the resize of training images before any augmentation; None: full-size images."""
    return None if data.cache_px is None else v2.Resize(data.cache_px, antialias=True)


def training(data: Data, augment: Transform | None, resize_on_device: bool = False) -> v2.Compose:
    """Returns the transform of training: `augment`, or without one that of evaluation.

    With `resize_on_device` a crop and flip that nothing follows are drawn here and done on the
    training device: an image becomes a `Cut`.

    Images may be views of what the next epoch reads, so an augmentation gets its own copy of them
    where it does not begin with our crop, which makes one.
    """
    if augment is None:
        return evaluation(data)
    if resize_on_device and (cutter := Cutter.of(augment)):
        return v2.Compose([Channels(data.in_chans), cutter])
    steps = [augment] if _first(augment) is RandomResizedCrop else [torch.clone, augment]
    return v2.Compose([Channels(data.in_chans), *steps])


def _first(transform: object) -> type:
    while isinstance(transform, v2.Compose):
        transform = transform.transforms[0]
    return type(transform)


def no_augment(img_size: tuple[int, int]) -> None:
    """Returns no augmentation."""


def flip_crop(img_size: tuple[int, int], min_scale: float, flip_prob: float) -> v2.Compose:
    """Returns the paper's augmentation: random resized crop, then horizontal flip."""
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


class Channels(nn.Module):
    """Makes any image a uint8 tensor (in_chans, H, W): PIL images as PIL converts, grey <-> RGB."""

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.in_chans, self.mode = in_chans, {1: "L", 3: "RGB"}.get(in_chans)

    def forward(self, image: Image.Image | Tensor) -> Tensor:
        if isinstance(image, Image.Image):
            return functional.pil_to_tensor(image.convert(self.mode) if self.mode else image)
        if type(image) is not Tensor:
            image = image.as_subclass(Tensor)
        if image.shape[0] == self.in_chans or self.mode is None:
            return image
        return (
            functional.rgb_to_grayscale(image)
            if self.mode == "L"
            else functional.grayscale_to_rgb(image)
        )


class Normalize(nn.Module):
    """Scales uint8 images to [0, 1], then normalises each channel: (B, C, H, W) -> float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        return images.div_(255).sub_(self.mean).div_(self.std)
