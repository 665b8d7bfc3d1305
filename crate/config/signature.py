"""A configuration's identity: what two runs must share to be the same run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from crate.config.schema import NO_NEUTRAL, Config, pair

DIGITS = 12  # hexadecimal; 48 bits
FREE_OF_COST = (
    "seed",
    "train.epochs",
    "train.label_smoothing",
    "schedule",
    "model.sparsity",
    "model.step_size",
    "optimizer.lr",
    "optimizer.weight_decay",
    "objective",
)


def signature(config: Config, data: Any = None, init_from: str | None = None) -> str:
    """Return the hash of everything that can change the result of a run.

    `data` identifies a data set beyond its configuration (JSON values, or None), and `init_from`
    is the content hash of the initial weights. A field at its neutral value is left out, so that
    adding a field later does not change the hash of earlier configurations.
    """
    parts = {"config": identity(config), "data": data, "init_from": init_from}
    text = json.dumps({key: value for key, value in parts.items() if value}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def shape(config: Config) -> str:
    """Return the hash of everything that decides how long an epoch takes on a given machine."""
    values = identity(config)
    for key in FREE_OF_COST:
        *parents, last = key.split(".")
        node: Any = values
        for parent in parents:
            node = node.get(parent, {})
        node.pop(last, None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:DIGITS]


def identity(node: Any) -> dict[str, Any]:
    """Return the values of a typed node that belong to its identity, nested, as JSON values."""
    values: dict[str, Any] = {}
    for entry in fields(node):
        rules, value = entry.metadata, getattr(node, entry.name)
        if not rules.get("identity", True):
            continue
        if is_dataclass(value):
            value = identity(value)
        elif rules.get("size"):
            value = list(pair(value))
        elif isinstance(value, dict):
            value = {
                key: identity(each) if is_dataclass(each) else each for key, each in value.items()
            }
        neutral = rules.get("neutral", NO_NEUTRAL)
        if value == {} or (neutral is not NO_NEUTRAL and value == neutral):
            continue
        values[entry.name] = value
    return values
