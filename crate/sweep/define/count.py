"""How many points a sweep has, counted without making them."""

from __future__ import annotations

import math

from hydra.core.override_parser.types import Override, RangeSweep

from crate.errors import UserError


def num_values(override: Override) -> int:
    """Return how many values an override has, without listing those of a range."""
    if not (override.is_sweep_override() and override.is_discrete_sweep()):
        return 1
    values = override.value()
    if isinstance(values, RangeSweep) and values.step:
        assert values.start is not None and values.stop is not None  # Hydra's parser sets both
        return max(0, math.ceil((values.stop - values.start) / values.step))
    return sum(1 for _ in override.sweep_iterator())


def require_at_most(most: int, sizes: list[int]) -> None:
    """Raise UserError if axes of these sizes, crossed, have more than `most` points."""
    number, several = math.prod(sizes), [size for size in sizes if size != 1]
    if number > most:
        product = f" ({' x '.join(f'{size:,}' for size in several)})" if len(several) > 1 else ""
        raise UserError(
            f"the sweep has {number:,} points{product}",
            f"{most:,} points at most",
            f"fewer values, several sweeps, or hydra.sweeper.max_points={number}",
        )
