"""Time several ways of doing the same in turn, so that other load slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def rates(
    ways: dict[str, Callable[[int], int]], amount: int, rounds: int
) -> dict[str, list[float]]:
    """Return for each way its work per second of processor time, in each of `rounds` rounds.

    A way is called with a number of parts and returns the work that it did. Processor time suffers
    less from other processes than wall-clock time. The first part of each turn is not counted,
    because it refills memory and caches after the previous way; nor is the first round.
    """
    results: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            way(1)
            started = time.process_time()
            done = way(amount)
            rate = done / (time.process_time() - started)
            if number:
                results[name].append(rate)
    return results


def summary(results: dict[str, list[float]], reference: str) -> dict[str, dict[str, float]]:
    """Return each way's median, lowest and highest rate, and its median ratio to `reference`."""
    return {
        name: {
            "median": median(values),
            "lowest": min(values),
            "highest": max(values),
            "ratio": median(a / b for a, b in zip(values, results[reference], strict=True)),
        }
        for name, values in results.items()
    }
