"""The objective: the metric by which the best weights, runs and points are chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from crate.config.schema.field import option

DEFAULT = "val/top1"
PERCENT = ("top1", "top5")  # endings of the metrics that are accuracies in percent


@dataclass
class Objective:
    """A logged metric, and whether its largest or its smallest value is the best one.

    `direction` is "auto" wherever that means the same, so that equal objectives are equal.
    """

    metric: str = option(
        DEFAULT,
        "logged metric that decides which weights are the best: val/top1, val/loss, ...",
        neutral=DEFAULT,
    )
    direction: str = option(
        "auto",
        "best value of the metric; auto: min for names that end in loss, max for all others",
        neutral="auto",
        choices=("auto", "max", "min"),
        slips={"maximize": "max", "minimize": "min", "maximum": "max", "minimum": "min"},
    )

    def __post_init__(self) -> None:
        if self.direction == _auto(self.metric):
            self.direction = "auto"

    @property
    def goal(self) -> Literal["max", "min"]:
        """The direction in which the metric gets better, never "auto"."""
        return "min" if self.is_least else "max"

    @property
    def is_least(self) -> bool:
        """Whether the smallest value is the best one."""
        return (_auto(self.metric) if self.direction == "auto" else self.direction) == "min"

    @property
    def split(self) -> str:
        """The first part of the metric's name: "val" of "val/top1"."""
        return self.metric.partition("/")[0]

    @property
    def worst(self) -> float:
        """The value that any other one is better than."""
        return math.inf if self.is_least else -math.inf

    def is_better(self, new: float, old: float) -> bool:
        """Return whether `new` is strictly better than `old`; NaN is never better."""
        return new < old if self.is_least else new > old

    def best(self, values: Iterable[float]) -> float | None:
        """Return the best value, NaN left out; None if there is none."""
        numbers = [value for value in values if not math.isnan(value)]
        return (min if self.is_least else max)(numbers, default=None)

    def text(self, value: float | None) -> str:
        """Return a value in digits: two decimals for percent, four for others, "-" for None."""
        return number(self.metric, value)


def number(metric: str, value: float | None) -> str:
    """Return a metric's value in digits: two decimals for percent, four for others, "-" for None.

    The names of accuracies in percent end in top1 or top5.
    """
    if value is None:
        return "-"
    return f"{value:.2f}" if metric.endswith(PERCENT) else f"{value:.4f}"


def _auto(metric: str) -> str:
    return "min" if metric.endswith("loss") else "max"
