"""Convert the authors' checkpoints ([C]) to our names of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_WEIGHT_AND_BIAS = ("weight", "bias")

_STEM_AND_HEAD = {
    "to_patch_embedding.1": "patch_embed.patch_norm",
    "to_patch_embedding.2": "patch_embed.proj",
    "to_patch_embedding.3": "patch_embed.norm",
    "mlp_head.0": "fc_norm",
    "mlp_head.1": "head",
}
_LAYER = {
    "0.norm.weight": "norm1.weight",
    "0.norm.bias": "norm1.bias",
    "0.fn.qkv.weight": "mssa.subspaces.weight",
    "1.norm.weight": "norm2.weight",
    "1.norm.bias": "norm2.bias",
    "1.fn.weight": "ista.dictionary",
}
_OUTPUT = {
    "0.fn.to_out.0.weight": "mssa.output.weight",
    "0.fn.to_out.0.bias": "mssa.output.bias",
}


def is_official(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has the authors' names of weights instead of ours."""
    return "pos_embedding" in _weights(checkpoint)


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the same weights under our names, with no value changed.

    `checkpoint` is a state_dict in the authors' names, or a checkpoint that holds one under
    "state_dict" ("model" if it was fine-tuned). The names may start with `module.`, as
    DistributedDataParallel writes them.
    A model without any attention output matrix is read as one with one full-width head.

    Raise ValueError that names every missing and every unknown weight.
    """
    weights = _weights(checkpoint)
    names = _names(weights)
    missing = [theirs for theirs in names if theirs not in weights]
    unknown = [theirs for theirs in weights if theirs not in names]
    if missing or unknown:
        raise ValueError(
            "not a checkpoint of the authors' CRATE: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(unknown) or 'none'}"
        )
    return {ours: weights[theirs] for theirs, ours in names.items()}


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    weights = checkpoint.get("state_dict", checkpoint.get("model", checkpoint))
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): weight for name, weight in weights.items()}
    return dict(weights)


def _names(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return {their name: our name} for a model as deep as the deepest layer in `weights`."""
    names = {"cls_token": "cls_token", "pos_embedding": "pos_embed"}
    for theirs, ours in _STEM_AND_HEAD.items():
        names |= {f"{theirs}.{kind}": f"{ours}.{kind}" for kind in _WEIGHT_AND_BIAS}
    matches = [re.match(r"transformer\.layers\.(\d+)\.", name) for name in weights]
    depth = max((int(match[1]) + 1 for match in matches if match), default=1)
    has_output = any(".fn.to_out." in name for name in weights)
    for i in range(depth):
        for theirs, ours in (_LAYER | _OUTPUT if has_output else _LAYER).items():
            names[f"transformer.layers.{i}.{theirs}"] = f"layers.{i}.{ours}"
    return names
