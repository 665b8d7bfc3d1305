"""What a configuration needs to train: built, checked, and not yet started."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from crate.config.schema import Config, pair
from crate.config.target import call
from crate.data import transforms
from crate.data.cache.choice import with_cache
from crate.data.label_names import label_names
from crate.data.loading.loader import train_batches
from crate.data.loading.mixing import Mixing, mixing
from crate.data.loading.prefetch import on_device
from crate.data.loading.seeds import kept_generators, mixed_seed, seed_everything
from crate.data.loading.workers import num_workers
from crate.data.splits import load_splits, notes
from crate.errors import UserError
from crate.ranks import Ranks
from crate.train.checkpoints.initialize import initialize
from crate.train.evaluation.batches import Images
from crate.train.evaluation.evaluator import Evaluator, evaluators
from crate.train.hardware.compile import compile_layers, decide
from crate.train.hardware.device import (
    SINGLE,
    keep_freed_memory,
    loss_scaler,
    resolve_device,
    resolve_precision,
    set_deterministic,
)
from crate.train.learner import Learner, running_mean
from crate.train.optimizers.optimizer import build_optimizer
from crate.train.schedule import Schedule
from crate.train.steps import Steps


@dataclass
class Setup:
    """Everything that the loop calls.

    `images` are the splits as evaluators see them; `train_transform` and `mixing` are for training
    alone. `auto` is what was decided here and holds for every resume; `compiled` says in words
    whether the layers are, and why; `notes` say what was loaded, replaced and left out;
    `label_names` are the names of the classes, None if the data set has none.
    """

    seed: int
    ranks: Ranks
    device: torch.device
    precision: str
    learner: Learner
    steps: Steps
    factor: Schedule
    images: Images
    train_transform: transforms.Transform
    mixing: Mixing | None
    evaluators: list[Evaluator]
    label_names: list[str] | None
    auto: dict[str, str]
    compiled: str
    notes: list[str]

    def train_batches(self, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this rank's share of each batch from step `start` on, on the device.

        That is images (b, C, H, W) uint8 and labels (b,).
        """
        batches = train_batches(
            self.images.splits["train"],
            self.train_transform,
            batch_size=self.steps.batch_size,
            seed=self.seed,
            start=start,
            stop=self.steps.total,
            workers=self.images.workers,
            rank=self.ranks.rank,
            size=self.ranks.size,
        )
        return on_device(batches, self.device)


def build(config: Config, decided: dict[str, str], ranks: Ranks = SINGLE) -> Setup:
    """Return what trains `config`; `decided` holds what `auto` became when the run first started.

    Raise UserError for what cannot be built.
    """
    data, options = config.data, config.train
    device = resolve_device(config.device, ranks)
    precision = decided.get("precision") or resolve_precision(config.precision, device)
    set_deterministic(config.deterministic)
    keep_freed_memory(device)
    seed_everything(config.seed)
    model, loading_notes = _initial_model(config, device)
    with kept_generators():  # what a model draws does not depend on what loading draws
        loaded = load_splits(data, config.outputs)
        splits, cache = with_cache(loaded, data, config.outputs, decided.get("cache"))
    steps = Steps(len(splits["train"]), options.batch_size, options.epochs)
    compiles, why = decide(config, device, steps.num_images, decided.get("compile"))
    augment = call(config.augment, img_size=pair(data.img_size))
    ema = running_mean(model, options.ema)
    if compiles:
        compile_layers(model, config.outputs)
    if not ranks.is_first:  # what a model draws while it trains differs from rank to rank
        seed_everything(mixed_seed(config.seed, ranks.rank))
    optimizer = build_optimizer(config.optimizer, model, options.decay_all)
    factor = call(config.schedule, total_steps=steps.total, steps_per_epoch=steps.per_epoch)
    num_classes = data.num_classes
    assert num_classes is not None  # completed from the data
    return Setup(
        seed=config.seed,
        ranks=ranks,
        device=device,
        precision=precision,
        learner=Learner(model, optimizer, loss_scaler(device, precision), ema),
        steps=steps,
        factor=factor,
        images=Images(
            splits=splits,
            transform=transforms.evaluation(data),
            normalize=transforms.Normalize(data.mean, data.std).to(device),
            workers=num_workers(data, ranks.local_size),
            device=device,
            precision=precision,
            ranks=ranks,
        ),
        train_transform=transforms.training(data, augment, resize_on_device=device.type == "cuda"),
        mixing=mixing(config.augment, num_classes, config.seed),
        evaluators=evaluators(config),
        label_names=label_names(loaded["train"], num_classes),
        auto={
            "device": str(device),
            "precision": precision,
            "cache": cache,
            "compile": "on" if compiles else "off",
        },
        compiled=f"layers {'' if compiles else 'not '}compiled: {why}",
        notes=[*loading_notes, *notes(loaded)],
    )


def build_model(config: Config, device: torch.device) -> nn.Module:
    """Return the configured model on `device`, with weights drawn on the CPU from the seed."""
    model = call(config.model)
    if not isinstance(model, nn.Module):
        raise UserError(f"{config.model._target_} returns no torch.nn.Module", "a module")
    return model.to(device)


def _initial_model(config: Config, device: torch.device) -> tuple[nn.Module, list[str]]:
    """Return the model with its initial weights, and what was loaded into it in words."""
    model = build_model(config, device)
    if config.train.recompute:
        _recompute(model, config)
    if not config.init_from:
        return model, []
    return model, initialize(model, Path(config.init_from), vars(config.model))


def _recompute(model: nn.Module, config: Config) -> None:
    """Turn on activation checkpointing.

    Each layer then stores its input alone; the rest is computed again in the backward pass.
    """
    turn_on = getattr(model, "set_grad_checkpointing", None)
    if turn_on is None:
        raise UserError(
            f"train.recompute=true, and {config.model._target_} cannot",
            "a model with timm's set_grad_checkpointing",
            "train.recompute=false",
        )
    turn_on()
