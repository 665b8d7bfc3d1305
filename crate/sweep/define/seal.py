"""The seal of a frozen point, by which a job detects an edited point, other data, other weights.

A launch adds to the file of each point the hash of its values (`digest`) and hashes of the files
that they name (`inputs`: the data set and the weights of init_from). The values are sealed as the
JSON of the file, whichever version wrote it. Imports no torch.
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
    """Return the values of a point together with their seal; `config` is its configuration."""
    values = values | {"inputs": _inputs(config)}
    return values | {"digest": _digest(values)}


def require_as_launched(values: dict[str, Any], config: Config, file: Path) -> None:
    """Raise UserError if a point, its data or its initial weights changed since its launch.

    `values` is the content of `file`, and `config` the configuration in it.
    """
    digest = values.get("digest")  # None if an earlier version launched the point
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
    """Return the hash of a point's values without the hash that is stored among them."""
    return _hash({key: value for key, value in values.items() if key != "digest"})


def _hash(values: Any) -> str:
    stored = json.loads(json.dumps(values))  # as a reader of the file gets them
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:DIGITS]
