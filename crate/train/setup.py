"""What a configuration needs to train: built, checked, and not yet started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from crate.config.schema import Config, pair
from crate.config.target import call
from crate.data import transforms
from crate.data.cache.choice import with_cache
from crate.data.label_names import label_names
from crate.data.loading.batches import batch_length, steps_per_epoch
from crate.data.loading.mixing import Mixing, mixing
from crate.data.loading.seeds import kept_generators, mixed_seed, seed_everything
from crate.data.loading.workers import num_workers
from crate.data.splits import load_splits, notes
from crate.errors import UserError
from crate.ranks import Ranks
from crate.train.checkpoints.initialize import initialize
from crate.train.compile import compile_layers, decide
from crate.train.device import (
    SINGLE,
    keep_freed_memory,
    loss_scaler,
    resolve_device,
    resolve_precision,
    set_deterministic,
)
from crate.train.optimizers.optimizer import build_optimizer
from crate.train.schedule import Schedule


@dataclass
class Setup:
    """Everything that the loop calls.

    `auto` is what was decided here and holds for every resume; `compiled` says in words whether the
    layers are, and why; `notes` say what was loaded, replaced and left out; `label_names` are the
    names of the classes, None if the data set has none.
    """

    ranks: Ranks
    device: torch.device
    precision: str
    model: nn.Module
    optimizer: optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: nn.Module | None
    factor: Schedule
    normalize: nn.Module
    mixing: Mixing | None
    splits: dict[str, Any]
    label_names: list[str] | None
    auto: dict[str, str]
    compiled: str
    notes: list[str]
    train_transform: Any
    eval_transform: Any
    workers: int
    batch_size: int
    steps_per_epoch: int
    total_steps: int

    def batch_length(self, step: int) -> int:
        """Returns the number of images in the global batch of `step`."""
        return batch_length(len(self.splits["train"]), self.batch_size, step)


def build(config: Config, decided: dict[str, str], ranks: Ranks = SINGLE) -> Setup:
    """Returns what trains `config`; `decided` holds what `auto` became when the run first started.

    Raises UserError for what cannot be built.
    """
    device = resolve_device(config.device, ranks)
    precision = decided.get("precision") or resolve_precision(config.precision, device)
    set_deterministic(config.deterministic)
    keep_freed_memory(device)
    seed_everything(config.seed)
    model = build_model(config, device)
    if config.train.recompute:
        _recompute(model, config)
    said: list[str] = []
    if config.init_from:
        said = initialize(model, Path(config.init_from), vars(config.model))
    data = config.data
    with kept_generators():  # what a model draws does not depend on what loading draws
        loaded = load_splits(data, config.outputs)
        splits, cache = with_cache(loaded, data, config.outputs, decided.get("cache"))
    per_epoch = steps_per_epoch(len(splits["train"]), config.train.batch_size)
    total_steps = config.train.epochs * per_epoch
    compiles, why = decide(config, device, len(splits["train"]), decided.get("compile"))
    augment = call(config.augment, img_size=pair(data.img_size))
    ema = _ema(model, config.train.ema)
    if compiles:
        compile_layers(model, config.outputs)
    if not ranks.is_first:  # what a model draws while it trains differs from rank to rank
        seed_everything(mixed_seed(config.seed, ranks.rank))
    return Setup(
        ranks=ranks,
        device=device,
        precision=precision,
        model=model,
        optimizer=build_optimizer(config.optimizer, model, config.train.decay_all),
        scaler=loss_scaler(device, precision),
        ema=ema,
        factor=call(config.schedule, total_steps=total_steps, steps_per_epoch=per_epoch),
        normalize=transforms.Normalize(data.mean, data.std).to(device),
        mixing=mixing(config.augment, data.num_classes, config.seed),
        splits=splits,
        label_names=label_names(loaded["train"], data.num_classes),
        auto={
            "device": str(device),
            "precision": precision,
            "cache": cache,
            "compile": "on" if compiles else "off",
        },
        compiled=f"layers {'' if compiles else 'not '}compiled: {why}",
        notes=[*said, *notes(loaded)],
        train_transform=transforms.training(data, augment, resize_on_device=device.type == "cuda"),
        eval_transform=transforms.evaluation(data),
        workers=num_workers(data, ranks.local_size),
        batch_size=config.train.batch_size,
        steps_per_epoch=per_epoch,
        total_steps=total_steps,
    )


def _recompute(model: nn.Module, config: Config) -> None:
    """Has `model` keep of each layer its input alone and compute the rest again in the backward."""
    if not hasattr(model, "set_grad_checkpointing"):
        raise UserError(
            f"train.recompute=true, and {config.model._target_} cannot",
            "a model with timm's set_grad_checkpointing",
            "train.recompute=false",
        )
    model.set_grad_checkpointing()


def _ema(model: nn.Module, decay: float | None) -> nn.Module | None:
    """Returns the running mean of a model's weights; its buffers are the model's."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


def build_model(config: Config, device: torch.device) -> nn.Module:
    """Returns the configured model on `device`, with weights drawn on the CPU from the seed."""
    model = call(config.model)
    if not isinstance(model, nn.Module):
        raise UserError(f"{config.model._target_} returns no torch.nn.Module", "a module")
    return model.to(device)
