"""Which way a metric is better."""

from __future__ import annotations

DEFAULT = "val/top1"


def is_least(metric: str) -> bool:
    """Return whether the least value of a metric is the best one: that of a loss."""
    return metric.endswith("loss")
