"""Swept values: what tells a point of a sweep from the others, by key."""

from __future__ import annotations

from typing import Any

from crate.config.label import short_names


def as_words(swept: dict[str, Any]) -> str:
    """Return swept values as `sparsity=0.1 seed=0`, the form that the commands take."""
    names = short_names(swept)
    return " ".join(f"{names[key]}={value}" for key, value in swept.items()) or "-"


def is_baseline(baseline: dict[str, Any] | None, values: dict[str, Any]) -> bool:
    """Return whether a point's values include those that the sweep compares with."""
    if not baseline:
        return False
    return all(values.get(key) == value for key, value in baseline.items())
