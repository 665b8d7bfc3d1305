"""Checks of values against each other: what cannot run is refused before it starts."""

from __future__ import annotations

from importlib.util import find_spec

from crate.config.checks.transformer import transformer_errors
from crate.config.objective import objective_errors
from crate.config.schema import (
    SGD,
    Config,
    Cosine,
    TensorBoard,
    Transformer,
    Wandb,
)
from crate.errors import UserError


def combination_errors(config: Config) -> list[UserError]:
    """Return an error for every combination of values that cannot be."""
    return [error for check in _CHECKS for error in check(config)]


def _model_errors(config: Config) -> list[UserError]:
    if not isinstance(config.model, Transformer):
        return []
    return transformer_errors(config.model, config.data)


def _channel_errors(config: Config) -> list[UserError]:
    """Return an error for each statistic with another number of values than of channels."""
    errors, data = [], config.data
    for name in ("mean", "std"):
        values = getattr(data, name)
        if len(values) not in (1, data.in_chans):
            example = "[" + ",".join(["0.5"] * data.in_chans) + "]"
            errors.append(
                UserError(
                    f"data.{name} has {len(values)} values for {data.in_chans} channels",
                    f"1 or {data.in_chans} values",
                    f"data.{name}={example}",
                )
            )
    return errors


def _schedule_errors(config: Config) -> list[UserError]:
    """Return the error of a warm-up longer than training; the authors' factor admits one."""
    schedule, epochs = config.schedule, config.train.epochs
    if not isinstance(schedule, Cosine) or schedule.warmup_epochs <= epochs:
        return []
    return [
        UserError(
            f"schedule.warmup_epochs={schedule.warmup_epochs:g} is more than train.epochs={epochs}",
            f"at most {epochs} epochs of warm-up",
            "schedule.warmup_epochs=0, or more train.epochs",
        )
    ]


def _optimizer_errors(config: Config) -> list[UserError]:
    """Return the error that torch would raise when the optimizer is built."""
    optimizer = config.optimizer
    if not isinstance(optimizer, SGD) or not optimizer.nesterov or optimizer.momentum > 0:
        return []
    return [
        UserError(
            "optimizer.nesterov=true needs momentum, and optimizer.momentum=0",
            "a momentum above 0, or nesterov=false",
            "optimizer.momentum=0.9",
        )
    ]


def _tracker_errors(config: Config) -> list[UserError]:
    """Return the error of a tracker whose package is not installed; it is not imported here."""
    if config.task != "train":
        return []
    package = {Wandb: "wandb", TensorBoard: "tensorboard"}.get(type(config.tracker))
    spec = find_spec(package) if package else None
    if package is None or (spec is not None and spec.origin is not None):  # None: a mere folder
        return []
    return [
        UserError(
            f"tracker={package} needs the package {package}, which is not installed",
            "tracker=none: metrics.jsonl is always written",
            f"pip install {package}",
        )
    ]


def _accumulation_errors(config: Config) -> list[UserError]:
    """Return the error of a batch that is split into more parts than it has images."""
    parts, batch = config.train.accumulation_steps, config.train.batch_size
    if parts <= batch:
        return []
    return [
        UserError(
            f"train.accumulation_steps={parts} is more than train.batch_size={batch}",
            f"at most {batch}",
            f"train.accumulation_steps={batch}",
        )
    ]


def _task_errors(config: Config) -> list[UserError]:
    """Return an error for each path that the task does not take."""
    errors, task = [], config.task
    if task == "train" and config.checkpoint is not None:
        errors.append(
            UserError(
                "checkpoint= is for task=evaluate and task=export",
                "init_from=FILE to start training from weights",
                f"init_from={config.checkpoint}",
            )
        )
    if task != "export" and config.export_to is not None:
        errors.append(
            UserError(
                f"export_to= is for task=export, and this is task={task}",
                "the weights of a run, written for timm",
                "task=export checkpoint=FILE export_to=FOLDER",
            )
        )
    return errors


_CHECKS = (
    _model_errors,
    _channel_errors,
    _schedule_errors,
    _optimizer_errors,
    _tracker_errors,
    _accumulation_errors,
    _task_errors,
    objective_errors,
)
