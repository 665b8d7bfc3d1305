"""Swept values: the values of a point for the keys that the sweep varies."""

from __future__ import annotations

from typing import Any

from crate.config.label import short_names

Values = dict[str, Any]  # key of the configuration -> value, as YAML and JSON hold it


def as_words(swept: Values) -> str:
    """Return swept values as `sparsity=0.1 seed=0`, the form that the commands take."""
    names = short_names(swept)
    return " ".join(f"{names[key]}={value}" for key, value in swept.items()) or "-"


def is_baseline(baseline: Values | None, values: Values) -> bool:
    """Return whether a point's values include those that the sweep compares with."""
    if not baseline:
        return False
    return all(values.get(key) == value for key, value in baseline.items())
