"""What a configuration needs to train: built, checked, and not yet started."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from crate.config.errors import UserError
from crate.config.schema import Config, pair
from crate.config.target import call
from crate.data import transforms
from crate.data.loader import load_split, steps_per_epoch
from crate.model.weights import load_weights
from crate.train.checkpoint import read
from crate.train.device import resolve_device, resolve_precision, set_deterministic
from crate.train.optimizer import build_optimizer
from crate.train.schedule import Schedule

logger = logging.getLogger("crate")


@dataclass
class Setup:
    """Everything that the loop calls."""

    device: torch.device
    precision: str
    model: nn.Module
    optimizer: optim.Optimizer
    factor: Schedule
    normalize: nn.Module
    train_images: Any
    train_transform: Any
    val_images: Any
    val_transform: Any
    steps_per_epoch: int
    total_steps: int


def build(config: Config, decided: dict[str, str]) -> Setup:
    """Returns what trains `config`; `decided` holds what `auto` became when the run first started.

    Raises UserError for what cannot be built.
    """
    device = resolve_device(config.device)
    precision = decided.get("precision") or resolve_precision(config.precision, device)
    set_deterministic(config.deterministic)
    torch.manual_seed(config.seed)
    model = build_model(config, device)
    if config.init_from:
        for note in load_weights_from(model, Path(config.init_from)):
            logger.info(note)
    data = config.data
    train_images, val_images = load_split(data, "train"), load_split(data, "val")
    per_epoch = steps_per_epoch(len(train_images), config.train.batch_size)
    total_steps = config.train.epochs * per_epoch
    augment = call(config.augment, img_size=pair(data.img_size))
    return Setup(
        device=device,
        precision=precision,
        model=model,
        optimizer=build_optimizer(config.optimizer, model, config.train.decay_all),
        factor=call(config.schedule, total_steps=total_steps, steps_per_epoch=per_epoch),
        normalize=transforms.Normalize(data.mean, data.std).to(device),
        train_images=train_images,
        train_transform=transforms.training(data, augment),
        val_images=val_images,
        val_transform=transforms.evaluation(data),
        steps_per_epoch=per_epoch,
        total_steps=total_steps,
    )


def build_model(config: Config, device: torch.device) -> nn.Module:
    """Returns the configured model on `device`, with weights drawn on the CPU from the seed."""
    model = call(config.model)
    if not isinstance(model, nn.Module):
        raise UserError(f"{config.model._target_} returns no torch.nn.Module", "a module")
    return model.to(device)


def load_weights_from(model: nn.Module, path: Path) -> list[str]:
    """Loads a checkpoint of ours, of the authors or of bare weights; returns what was changed.

    Raises UserError where the weights do not fit.
    """
    return load_weights_of(model, read(path), path)


def load_weights_of(model: nn.Module, values: dict[str, Any], path: Path) -> list[str]:
    """Loads weights from what `read` returned of `path`; returns lines that say what was done."""
    from crate.model import official

    try:
        if official.is_official(values):
            weights, origin = official.convert(values), "the authors' checkpoint"
        elif isinstance(values.get("model"), dict):
            weights, origin = values["model"], "a checkpoint of a run"
        else:
            weights, origin = values, "bare weights"
        notes = load_weights(model, weights)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not fit the model: {error}") from error
    return [f"loaded {len(weights)} weights of {path.name}, {origin}", *notes]
