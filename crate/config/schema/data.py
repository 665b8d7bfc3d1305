"""Data sets: those that are published, folders of images, and a user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from crate.config.schema.field import Target, option, pair


@dataclass
class Suggested:
    """What a data set suggests to the other groups, which read it by interpolation."""

    patch_size: Any = option(16, "patch side in pixels", identity=False, size=True)
    epochs: int = option(100, "epochs of training", identity=False, at_least=1)
    batch_size: int = option(256, "global batch", identity=False, at_least=1)
    warmup_epochs: float = option(5, "epochs of warm-up", identity=False, at_least=0)


@dataclass
class Data(Target):
    """Base of all data sets; a user's own is called as `_target_(split=..., **kwargs)`.

    The call returns a sequence of (image, label) for the split "train" or "val". An image is a PIL
    image or a uint8 tensor (C, H, W), a label an int in [0, num_classes).
    """

    img_size: Any = option(MISSING, "side in pixels that the model sees", size=True, argument=False)
    in_chans: int = option(MISSING, "image channels", at_least=1, argument=False)
    num_classes: int | None = option(
        MISSING, "number of classes; null: counted", at_least=1, argument=False
    )
    mean: list[float] = option([0.5], "mean of each channel, of values in [0, 1]", argument=False)
    std: list[float] = option([0.5], "standard deviation of each channel", above=0, argument=False)
    crop_pct: float = option(
        1.0,
        "share of the resized shorter side that evaluation keeps",
        above=0,
        at_most=1,
        argument=False,
    )
    val_fraction: float = option(
        0.0,
        "share of the training split set apart to choose the best weights; 0: none",
        neutral=0,
        at_least=0,
        below=1,
        argument=False,
    )
    workers: int | None = option(
        None,
        "loader processes per rank; null: one per core, 0: none",
        identity=False,
        at_least=0,
        argument=False,
    )
    cache: str = option(
        "auto",
        "decoded images on disk: on, off or a folder; auto: on if data.cache_px is set and it fits",
        identity=False,
        argument=False,
        path=True,
        words=("auto", "on", "off"),
    )
    cache_px: int | None = option(
        None,
        "shorter side that training images are resized to first; null: full size, or what "
        "evaluation resizes to if data.cache is on or a folder",
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
    """A published set that torchvision downloads if it is missing."""

    root: str | None = option(
        None,
        "folder of the set; null: CRATE_DATA/<name>, otherwise data/<name>",
        path=True,
        identity=False,
    )
    download: bool = option(
        True, "download the set if it is missing; false: an error if it is", identity=False
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
    """Any published set that torchvision reads, by its name in crate.data.published.PUBLISHED."""

    _target_: str = option("crate.data.downloaded.load", "the function that reads the set")
    published: str = option(MISSING, "name of the set, a row of crate.data.published.PUBLISHED")


@dataclass
class Folder(Data):
    """Images in `root`/{train,val}/<class>/, or in the parts train.X1, train.X2, ... and val.X."""

    _target_: str = option("crate.data.folder.Folder", "the data set's class")
    root: str | None = option(
        MISSING,
        "folder with train/ and val/; null, for a published set: CRATE_DATA/<name>, "
        "otherwise data/<name>",
        identity=False,
        path=True,
    )
    published: str | None = option(
        None,
        "name of a published set, which identifies it; null: its files identify it",
        argument=False,
    )
    on_corrupt: str = option(
        "error",
        "error: an unreadable image ends the run; skip: all are checked before training",
        neutral="error",
        choices=("error", "skip"),
    )


def evaluation_px(data: Data) -> int:
    """Return the shorter side in pixels that evaluation resizes to, 256 for ImageNet's 224."""
    return math.floor(min(pair(data.img_size)) / data.crop_pct)
