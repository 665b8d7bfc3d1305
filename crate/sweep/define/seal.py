"""The seal of a frozen point: tells an edited point from data or weights that changed.

A launch adds to each point's file the hash of its values (`digest`), and those of what the values
only name (`inputs`: the data set and the weights of init_from). Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from crate.config.schema import Config
from crate.data import facts
from crate.errors import UserError
from crate.tasks.identity import file_hash, signature_of

DIGITS = 12  # hexadecimal; 48 bits


def seal(values: dict[str, Any], config: Config) -> dict[str, Any]:
    """Return the values of a point with their seal; `config` is its configuration."""
    values = values | {"inputs": _inputs(config)}
    return values | {"digest": _digest(values)}


def require_as_launched(values: dict[str, Any], config: Config, file: Path) -> None:
    """Raise UserError unless the values of a point, and what they name, are those of its launch.

    `file` holds the values; `config` is made of them.
    """
    digest = values.get("digest")  # None: launched by an earlier version
    if digest is not None and digest != _digest(values):
        raise UserError(
            f"the frozen point {file} was edited after its launch",
            "a point as its launch wrote it",
            "the command of the sweep again, with the values that you want",
        )
    if signature_of(config) == values["signature"]:
        return
    before, now = values.get("inputs", {}), _inputs(config)
    names = {"data": f"the files of {getattr(config.data, 'root', None)}"}
    names["init_from"] = f"the weights of init_from={config.init_from}"
    changed = [name for key, name in names.items() if key in before and before[key] != now[key]]
    unknown = "the point, its data or the weights of init_from"
    raise UserError(
        f"{' and '.join(changed) or unknown} changed since the launch",
        "the files as they were, or a new launch",
        "the command of the sweep again",
    )


def _inputs(config: Config) -> dict[str, str | None]:
    data = facts.identity(config.data)
    weights = config.init_from
    return {
        "data": None if data is None else _hash(data),
        "init_from": None if weights is None else file_hash(weights),
    }


def _digest(values: dict[str, Any]) -> str:
    """Return the hash of a point's values, but for the one that is stored with them."""
    return _hash({key: value for key, value in values.items() if key != "digest"})


def _hash(values: Any) -> str:
    stored = json.loads(json.dumps(values))  # as a reader gets them, with texts for keys
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:DIGITS]
