"""Load the weights of any kind of checkpoint into a model, and report each of them.

The kinds are checkpoints of a run, the authors' (with or without `module.`, pre-trained or
fine-tuned), timm's, and bare weights, in torch's format or as safetensors. If a weight is missing
or unknown, nothing is loaded and an error is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from crate.config.schema import pair
from crate.errors import UserError
from crate.model import CRATE, official
from crate.model.weights import listed, load_weights
from crate.train.checkpoints.checkpoint import read
from crate.train.checkpoints.content import Content

WRAPPERS = ("state_dict", "model")  # keys of the weights, beside an optimizer and others
BEYOND_WEIGHTS = ("num_heads", "head_dim", "global_pool", "step_size", "sparsity")


def initialize(model: nn.Module, path: Path, options: Mapping[str, Any]) -> list[str]:
    """Load `path` to train from, with a fresh head if the number of classes differs.

    Return lines that name every weight as loaded, replaced or interpolated, and those of the
    model's `options` that differed in the run that trained it without showing in a weight.
    """
    values = read(path)
    return load_into(model, values, path, fresh_head=True) + _differences(options, values)


def load_into(
    model: nn.Module, values: Content, path: Path, *, fresh_head: bool = False
) -> list[str]:
    """Load the weights in `values`, the content of `path`; return lines that describe each change.

    Raise UserError if they do not fit the model.
    """
    try:
        weights, origin = _weights(values)
        _check_kind(model, weights)
        changed = load_weights(model, weights, old_grid=_grid(values), fresh_head=fresh_head)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not fit the model: {error}") from error
    names = {note.partition(":")[0] for note in changed}
    loaded = [name for name in weights if name not in names]
    return [
        f"loaded {len(loaded)} of {len(weights)} weights of {path.name}, {origin}: "
        f"{listed(loaded)}",
        *changed,
    ]


def _weights(values: Content) -> tuple[dict[str, Tensor], str]:
    """Return the weights under our names or timm's, and their origin in words."""
    if official.is_official(values):
        return official.convert(values), "the authors' checkpoint"
    if isinstance(values.get("config"), dict) and isinstance(values.get("model"), dict):
        return values["model"], "a checkpoint of a run"
    weights, origin = values, "bare weights"
    for key in WRAPPERS:
        if isinstance(values.get(key), dict):
            weights, origin = values[key], f"weights under {key!r}"
    if weights and all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): each for name, each in weights.items()}
    odd = [name for name, each in weights.items() if not isinstance(each, Tensor)]
    if odd:
        raise ValueError(f"it does not hold weights alone: {', '.join(map(str, odd[:5]))}")
    return weights, origin


def _check_kind(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the weights belong to another architecture; a list would not help."""
    of_vit = any(".attn.qkv." in name for name in weights)
    of_crate = any(".mssa." in name for name in weights)
    if of_vit and isinstance(model, CRATE):
        raise ValueError(
            "these are weights of a ViT, whose attention (query, key, value) and MLP have no place "
            "in CRATE\n  allowed: a checkpoint of CRATE, or a ViT to put them into\n"
            "  type:    model=vit_tiny or model=vit_small"
        )
    if of_crate and not isinstance(model, CRATE):
        raise ValueError(
            "these are weights of CRATE, and the model is another\n"
            "  type:    model=crate_tiny, or its size"
        )


def _grid(values: Content) -> tuple[int, int] | None:
    """Return the (rows, columns) of patches that a run was trained with, or None if unknown."""
    model = _trained(values)
    if not model.get("img_size") or not model.get("patch_size"):
        return None
    (height, width), (rows, columns) = pair(model["img_size"]), pair(model["patch_size"])
    return height // rows, width // columns


def _differences(options: Mapping[str, Any], values: Content) -> list[str]:
    """Return lines for the options that differ from training and do not show in a weight."""
    trained = _trained(values)
    return [
        f"trained with model.{key}={trained[key]}, and here it is {options[key]}"
        for key in BEYOND_WEIGHTS
        if key in trained and key in options and trained[key] != options[key]
    ]


def _trained(values: Content) -> Content:
    config = values.get("config")
    model = config.get("model") if isinstance(config, dict) else None
    return model if isinstance(model, dict) else {}
