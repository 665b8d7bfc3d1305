"""Suggestions of a data set, fitted to the other choices so that they never cause an error.

Only values that work badly or not at all are changed, because the signature of a configuration
depends on the values that a run trains with. Each change is logged in one line.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config.schema import pair
from crate.config.tokens import divides, num_tokens, patch_sizes

logger = logging.getLogger("crate")

WARMUP_SHARE = 0.1  # of the epochs, if the suggested warm-up is longer than training
FEWEST_STEPS = 4  # per epoch; with fewer, the suggested batch is too large for the data set
ENOUGH_STEPS = 8  # per epoch, that a smaller batch has to give
SMALLEST_BATCH = 8
ENOUGH_UPDATES = 1000  # in total, if even the smallest batch gives few per epoch

CountImages = Callable[[int], int | None]  # training images, counted up to the argument
Rule = Callable[[DictConfig, Any, CountImages], tuple[Any, str] | None]  # new value, reason


def fit(cfg: DictConfig, count_images: CountImages) -> None:
    """Fit the suggestions of `cfg.data` that other values of `cfg` refer to.

    `count_images(most)` returns the number of training images, counted up to `most`, or None to
    keep the batch size. If other values are wrong, a suggestion stays and the checks report them.
    """
    fits: dict[str, Rule] = {"patch_size": _fit_patch_size}
    if cfg.task == "train":
        fits |= {"batch_size": _fit_batch_size, "epochs": _fit_epochs, "warmup_epochs": _fit_warmup}
    for name, rule in fits.items():
        try:
            keys = list(_users(OmegaConf.to_container(cfg), f"${{data.suggested.{name}}}"))
            suggested = cfg.data.suggested[name]
            change = rule(cfg, suggested, count_images) if keys else None
            if change is not None:
                value, reason = change
                cfg.data.suggested[name] = value
                old, new = (f"{v:g}" if isinstance(v, float) else v for v in (suggested, value))
                _log_once(f"{', '.join(keys)}={new}: the suggested {old} {reason}")
        except (OmegaConfBaseException, ArithmeticError, TypeError, ValueError):
            continue


def _users(node: Any, interpolation: str, at: str = "") -> Iterator[str]:
    """Yield the dotted keys whose value is an interpolation."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _users(value, interpolation, f"{at}{key}.")
        elif value == interpolation:
            yield f"{at}{key}"


def _fit_patch_size(cfg: DictConfig, suggested: Any, _: Any) -> tuple[Any, str] | None:
    """Return the nearest patch size that suits the image, if the suggested one does not."""
    if OmegaConf.is_config(suggested):
        suggested = OmegaConf.to_container(suggested)
    image, patch = pair(cfg.data.img_size), pair(suggested)
    allow_long = bool(OmegaConf.select(cfg, "model.allow_long"))
    fitting = patch_sizes(image, suggested, allow_long)
    if not fitting or suggested == fitting[0]:
        return None
    if divides(patch, image):
        reason = f"gives {num_tokens(patch, image):,} tokens"
    else:
        reason = f"does not divide data.img_size={cfg.data.img_size}"
    return fitting[0], reason


def _fit_warmup(cfg: DictConfig, suggested: float, _: Any) -> tuple[float, str] | None:
    """Return a share of the epochs, if the suggested warm-up is longer than training."""
    epochs = cfg.train.epochs
    if suggested <= epochs or epochs < 1:
        return None
    return epochs * WARMUP_SHARE, f"is more than train.epochs={epochs}"


def _fit_batch_size(
    cfg: DictConfig, suggested: int, count_images: CountImages
) -> tuple[int, str] | None:
    """Return a smaller batch, if the suggested one gives very few steps per epoch."""
    num_images = count_images(FEWEST_STEPS * suggested)
    if not num_images or (steps := math.ceil(num_images / suggested)) >= FEWEST_STEPS:
        return None
    least, batch = max(SMALLEST_BATCH, cfg.train.accumulation_steps), suggested
    while batch // 2 >= least and math.ceil(num_images / batch) < ENOUGH_STEPS:
        batch //= 2
    reason = f"gives {steps} step{'s' * (steps > 1)} an epoch of {num_images} images"
    return None if batch == suggested else (batch, reason)


def _fit_epochs(
    cfg: DictConfig, suggested: int, count_images: CountImages
) -> tuple[int, str] | None:
    """Return more epochs, if even the smallest suggested batch gives few steps per epoch."""
    batch = cfg.train.batch_size
    tree = OmegaConf.to_container(cfg)
    if batch > SMALLEST_BATCH or not list(_users(tree, "${data.suggested.batch_size}")):
        return None
    num_images = count_images(ENOUGH_STEPS * SMALLEST_BATCH)
    if not num_images or (steps := math.ceil(num_images / batch)) >= ENOUGH_STEPS:
        return None
    epochs = math.ceil(ENOUGH_UPDATES / steps)
    reason = f"gives {steps * suggested} steps with {num_images} images"
    return (epochs, reason) if epochs > suggested else None


@cache
def _log_once(line: str) -> None:
    """Log a line once per process, although it may be true of many points of a sweep."""
    logger.info(line)
