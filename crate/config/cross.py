"""Checks of values against each other: what cannot be trained is refused before it starts."""

from __future__ import annotations

from importlib.util import find_spec

from crate.config.objective import objective_errors
from crate.config.schema import (
    CRATE,
    SGD,
    Config,
    Cosine,
    Data,
    Optimizer,
    TensorBoard,
    Tracker,
    Transformer,
    Wandb,
    pair,
)
from crate.config.tokens import (
    MAX_TOKENS,
    divides,
    nearest_multiple,
    num_tokens,
    patch_sizes,
)
from crate.errors import UserError


def cross_field_errors(config: Config) -> list[UserError]:
    """Returns every combination of values that cannot be."""
    errors = []
    if isinstance(config.model, Transformer):
        errors += _token_errors(config.model) + _head_errors(config.model)
        errors += _mismatch_errors(config.model, config.data)
    errors += _channel_errors(config.data)
    errors += _schedule_errors(config) + _optimizer_errors(config.optimizer)
    if config.task == "train":
        errors += _tracker_errors(config.tracker)
    if config.train.accumulation_steps > config.train.batch_size:
        errors.append(
            UserError(
                f"train.accumulation_steps={config.train.accumulation_steps} is more than "
                f"train.batch_size={config.train.batch_size}",
                f"at most {config.train.batch_size}",
                f"train.accumulation_steps={config.train.batch_size}",
            )
        )
    return errors + _task_errors(config) + objective_errors(config)


def _task_errors(config: Config) -> list[UserError]:
    """Which paths belong to which task."""
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


def _token_errors(model: Transformer) -> list[UserError]:
    image, patch = pair(model.img_size), pair(model.patch_size)
    if not divides(patch, image):
        given = f"model.patch_size={model.patch_size} does not divide model.img_size"
        given += f"={model.img_size}"
        fits = patch_sizes(image, patch[0], model.allow_long)
        if not fits:
            sides = list(map(nearest_multiple, image, patch))
            size = sides[0] if len(set(sides)) == 1 else f"[{sides[0]},{sides[1]}]"
            return [UserError(given, "a size that patches divide", f"data.img_size={size}")]
        sizes = ", ".join(map(str, sorted(fits)[:12]))
        return [UserError(given, f"patch sizes {sizes}", f"model.patch_size={fits[0]}")]
    tokens = num_tokens(patch, image)
    if tokens > MAX_TOKENS and not model.allow_long:
        return [
            UserError(
                f"model.img_size={model.img_size} in patches of {model.patch_size} gives "
                f"{tokens} tokens",
                f"{MAX_TOKENS} tokens, or more on purpose",
                "a larger model.patch_size, or model.allow_long=true",
            )
        ]
    return []


def _mismatch_errors(model: Transformer, data: Data) -> list[UserError]:
    """What the model takes over from the data has to be what the data gives."""
    errors = []
    for name in ("img_size", "in_chans", "num_classes"):
        ours, theirs = getattr(model, name), getattr(data, name)
        if (pair(ours) != pair(theirs)) if name == "img_size" else (ours != theirs):
            errors.append(
                UserError(
                    f"model.{name}={ours} differs from data.{name}={theirs}",
                    f"data.{name} alone, which the model takes over",
                    f"data.{name}={ours}",
                )
            )
    return errors


def _head_errors(model: Transformer) -> list[UserError]:
    if isinstance(model, CRATE) and model.head_dim is not None:
        return []
    if model.embed_dim % model.num_heads == 0:
        return []
    fits = [heads for heads in range(1, model.embed_dim + 1) if model.embed_dim % heads == 0]
    best = min(fits, key=lambda heads: abs(heads - model.num_heads))
    free = " or model.head_dim=DIM" if isinstance(model, CRATE) else ""
    return [
        UserError(
            f"model.num_heads={model.num_heads} does not divide model.embed_dim={model.embed_dim}",
            "heads " + ", ".join(map(str, fits[:12])),
            f"model.num_heads={best}{free}",
        )
    ]


def _optimizer_errors(optimizer: Optimizer) -> list[UserError]:
    """Return what torch would say of the optimizer only once it is built."""
    if not isinstance(optimizer, SGD) or not optimizer.nesterov or optimizer.momentum > 0:
        return []
    return [
        UserError(
            "optimizer.nesterov=true needs momentum, and optimizer.momentum=0",
            "a momentum above 0, or nesterov=false",
            "optimizer.momentum=0.9",
        )
    ]


def _channel_errors(data: Data) -> list[UserError]:
    errors = []
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
    """The authors' factor is defined for any number of epochs; the cosine is not."""
    if not isinstance(config.schedule, Cosine):
        return []
    warmup, epochs = config.schedule.warmup_epochs, config.train.epochs
    if warmup <= epochs:
        return []
    return [
        UserError(
            f"schedule.warmup_epochs={warmup:g} is more than train.epochs={epochs}",
            f"at most {epochs} epochs of warm-up",
            "schedule.warmup_epochs=0, or more train.epochs",
        )
    ]


def _tracker_errors(tracker: Tracker) -> list[UserError]:
    """A tracker's package has to be there before the run starts; it is not imported for that."""
    package = {Wandb: "wandb", TensorBoard: "tensorboard"}.get(type(tracker))
    found = find_spec(package) if package else None
    if package is None or (found is not None and found.origin is not None):  # None: a mere folder
        return []
    return [
        UserError(
            f"tracker={package} needs the package {package}, which is not installed",
            "tracker=none: metrics.jsonl is always written",
            f"pip install {package}",
        )
    ]
