"""What of a configuration goes to a server: no place on this machine."""

from __future__ import annotations

from typing import Any

from crate.config.label import short_names, short_path


def shown(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without `outputs`, and with absolute paths cut to their last part."""
    return _without_folders({key: value for key, value in config.items() if key != "outputs"})


def flat(swept: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return swept values by short names, for columns and filters: `{"sparsity": 0.5}`.

    A name that the configuration itself has at its top, such as `model`, gets `swept_` before it;
    `seed` is there already.
    """
    names = short_names(swept)
    values = {
        f"swept_{names[key]}" if names[key] in config else names[key]: value
        for key, value in swept.items()
        if key not in config or isinstance(config[key], dict)
    }
    return _without_folders(values)


def objective(config: dict[str, Any]) -> dict[str, Any]:
    """Return what the best value is kept of: the sweep's metric, or the run's objective."""
    metric, own = (config.get("sweep") or {}).get("metric"), config.get("objective") or {}
    return {"metric": metric} if metric and metric != own.get("metric") else own


def _without_folders(value: Any) -> Any:
    if isinstance(value, str):
        return short_path(value)
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    return [_without_folders(entry) for entry in value] if isinstance(value, list) else value
