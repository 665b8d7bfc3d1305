"""Augmentations of the training images."""

from __future__ import annotations

from dataclasses import dataclass

from crate.config.schema.field import Target, option


@dataclass
class Augment(Target):
    """Base of all augmentations; a user's own is called as `_target_(img_size=(h, w), **kwargs)`.

    It returns a function from an image to an image of that size. The function may draw from the
    global generators of torch, numpy and Python, which are seeded for each image.
    """

    mixup: float = option(
        0.0, "alpha of mixup over the global batch; 0: off", neutral=0, at_least=0, argument=False
    )
    cutmix: float = option(
        0.0, "alpha of cutmix over the global batch; 0: off", neutral=0, at_least=0, argument=False
    )


@dataclass
class NoAugment(Augment):
    """No augmentation: training images are prepared as evaluation images are."""

    _target_: str = option("crate.data.transforms.no_augment", "the augmentation's function")


@dataclass
class FlipCrop(Augment):
    """Random resized crop and horizontal flip, as in the paper."""

    _target_: str = option("crate.data.transforms.flip_crop", "the augmentation's function")
    min_scale: float = option(0.08, "smallest area of a crop, as a share", above=0, at_most=1)
    flip_prob: float = option(0.5, "probability of a horizontal flip", at_least=0, at_most=1)


@dataclass
class RandAugment(FlipCrop):
    """Random resized crop, flip, then random operations of one strength, as for fine-tuning."""

    _target_: str = option("crate.data.transforms.randaugment", "the augmentation's function")
    num_ops: int = option(2, "n, number of operations per image", at_least=0)
    magnitude: int = option(14, "m, strength of operations, 0 to 30", at_least=0, below=31)
    fill: int = option(0, "grey value outside the image", at_least=0, below=256)


@dataclass
class TrivialAugment(FlipCrop):
    """Random resized crop, flip, then one random operation of random strength."""

    _target_: str = option("crate.data.transforms.trivialaugment", "the augmentation's function")
    fill: int = option(0, "grey value outside the image", at_least=0, below=256)
