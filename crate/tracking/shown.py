"""The part of a configuration that a server gets: without folders of this machine."""

from __future__ import annotations

from typing import Any

from crate.config.label import short_names, short_path
from crate.config.schema.stored import NAMES

NOT_SHOWN = ("outputs", NAMES)  # a folder of this machine, and what only `restore` needs


def shown(config: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration without `outputs` and the names of its schemas.

    Absolute paths are cut to their last part.
    """
    return _without_folders({key: value for key, value in config.items() if key not in NOT_SHOWN})


def flat(swept: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return swept values by short names, for columns and filters: `{"sparsity": 0.5}`.

    A name that is a top-level key of the configuration, such as `model`, gets the prefix `swept_`.
    `seed` is left out, because the configuration contains it.
    """
    names = short_names(swept)
    values = {
        f"swept_{names[key]}" if names[key] in config else names[key]: value
        for key, value in swept.items()
        if key not in config or isinstance(config[key], dict)
    }
    return _without_folders(values)


def objective(config: dict[str, Any]) -> dict[str, Any]:
    """Return the objective whose best value is kept: the sweep's if it names one, or the run's."""
    metric, own = (config.get("sweep") or {}).get("metric"), config.get("objective") or {}
    return {"metric": metric} if metric and metric != own.get("metric") else own


def _without_folders(value: Any) -> Any:
    if isinstance(value, str):
        return short_path(value)
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    return [_without_folders(entry) for entry in value] if isinstance(value, list) else value
