"""Data sets: those that are published, folders of images, and a user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from crate.config.schema.field import Target, option, pair


@dataclass
class Suggested:
    """What a data set suggests to the other groups; nothing reads it but interpolations."""

    patch_size: Any = option(16, "patch side in pixels", identity=False, size=True)
    epochs: int = option(100, "epochs of training", identity=False, at_least=1)
    batch_size: int = option(256, "global batch", identity=False, at_least=1)
    warmup_epochs: float = option(5, "epochs of warm-up", identity=False, at_least=0)


@dataclass
class Data(Target):
    """Base of all data sets; a user's own is called as `_target_(split=..., **kwargs)`.

    The call returns an indexable of (image, label) for split "train" or "val"; an image is a PIL
    image or a uint8 tensor (C, H, W), a label an int in [0, num_classes).
    """

    img_size: Any = option(MISSING, "side in pixels that the model sees", size=True, argument=False)
    in_chans: int = option(MISSING, "image channels", at_least=1, argument=False)
    num_classes: int | None = option(
        MISSING, "number of classes; null: counted", at_least=1, argument=False
    )
    mean: list[float] = option([0.5], "a channel's mean, of values in [0, 1]", argument=False)
    std: list[float] = option([0.5], "a channel's standard deviation", above=0, argument=False)
    crop_pct: float = option(
        1.0,
        "share of the resized shorter side kept by evaluation",
        above=0,
        at_most=1,
        argument=False,
    )
    val_fraction: float = option(
        0.0,
        "share of the training split set apart to choose the best by; 0: none",
        neutral=0,
        at_least=0,
        below=1,
        argument=False,
    )
    workers: int | None = option(
        None,
        "loader processes a rank; null: one a core, 0: none",
        identity=False,
        at_least=0,
        argument=False,
    )
    cache: str = option(
        "auto",
        "decoded images on disk: on, a folder, off; auto: on where data.cache_px asks and it fits",
        identity=False,
        argument=False,
        path=True,
        words=("auto", "on", "off"),
    )
    cache_px: int | None = option(
        None,
        "shorter side that training images are resized to first; null: full size, or what "
        "evaluation resizes to where data.cache is on or a folder",
        neutral=None,
        at_least=1,
        argument=False,
    )
    suggested: Suggested = field(
        default_factory=Suggested,
        metadata={"help": "suggestions to other groups", "identity": False, "argument": False},
    )


@dataclass
class Digits(Data):
    """scikit-learn's 1,797 real digits, bundled with the package."""

    _target_: str = option("crate.data.digits.Digits", "the data set's class")


@dataclass
class Downloadable(Data):
    """A published set that torchvision downloads where it is missing."""

    root: str | None = option(
        None,
        "the set's folder; null: CRATE_DATA/<name>, else data/<name>",
        path=True,
        identity=False,
    )
    download: bool = option(
        True, "download the set where it is missing; false: an error then", identity=False
    )


@dataclass
class FashionMNIST(Downloadable):
    """Fashion-MNIST from its four idx files, gzipped or not."""

    _target_: str = option("crate.data.fashion_mnist.FashionMNIST", "the data set's class")


@dataclass
class CIFAR10(Downloadable):
    """CIFAR-10: 50,000 + 10,000 images of 32 x 32 pixels in ten classes."""

    _target_: str = option("crate.data.downloaded.CIFAR10", "the data set's class")


@dataclass
class CIFAR100(Downloadable):
    """CIFAR-100: 50,000 + 10,000 images of 32 x 32 pixels in a hundred classes."""

    _target_: str = option("crate.data.downloaded.CIFAR100", "the data set's class")


@dataclass
class Flowers(Downloadable):
    """Oxford Flowers-102: its train split (1,020) and its test split (6,149)."""

    _target_: str = option("crate.data.downloaded.Flowers", "the data set's class")


@dataclass
class Pets(Downloadable):
    """Oxford-IIIT Pets: trainval (3,680) and test (3,669), 37 breeds."""

    _target_: str = option("crate.data.downloaded.Pets", "the data set's class")


@dataclass
class Downloaded(Downloadable):
    """A published set that torchvision reads and that has no class here: a row of PUBLISHED."""

    _target_: str = option("crate.data.downloaded.load", "the function that reads the set")
    published: str = option(MISSING, "name of the set, a row of crate.data.published.PUBLISHED")


@dataclass
class Folder(Data):
    """Images in `root`/{train,val}/<class>/, or in the parts train.X1, train.X2, ... and val.X."""

    _target_: str = option("crate.data.folder.Folder", "the data set's class")
    root: str | None = option(
        MISSING,
        "folder with train/ and val/; null, for a published set: CRATE_DATA/<name>, "
        "else data/<name>",
        identity=False,
        path=True,
    )
    published: str | None = option(
        None,
        "name of a published set, which then identifies it; null: the files do",
        argument=False,
    )
    on_corrupt: str = option(
        "error",
        "an unreadable image is an error, or left out by a check of all before training (skip)",
        neutral="error",
        choices=("error", "skip"),
    )


def evaluation_px(data: Data) -> int:
    """Returns the shorter side in pixels that evaluation resizes to, 256 for ImageNet's 224."""
    return math.floor(min(pair(data.img_size)) / data.crop_pct)
