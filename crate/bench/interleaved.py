"""Times several ways of doing the same in turn, so that a busy machine is busy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def rates(
    ways: dict[str, Callable[[int], int]], amount: int, rounds: int
) -> dict[str, list[float]]:
    """Returns, for each way, what it did a second of one core in each of `rounds` rounds.

    A way is called with how many parts of work to do and returns how much that was. Processor time
    is counted, which other processes on the machine lengthen less than they do the time on the
    wall. The first part of each turn is not counted: it brings memory and caches back from the way
    before. One round before them all warms up.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            way(1)
            started = time.process_time()
            done = way(amount)
            rate = done / (time.process_time() - started)
            if number:
                found[name].append(rate)
    return found


def summary(found: dict[str, list[float]], reference: str) -> dict[str, dict[str, float]]:
    """Returns each way's median rate, and the median of its ratios to `reference`, by round."""
    return {
        name: {
            "median": median(values),
            "lowest": min(values),
            "highest": max(values),
            "ratio": median(a / b for a, b in zip(values, found[reference], strict=True)),
        }
        for name, values in found.items()
    }
