"""From a sweep to its points: the overrides of each run, in Hydra's own grammar."""

from __future__ import annotations

from itertools import chain, product

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from crate.config.schema import Sweep
from crate.errors import UserError, nearest, shorten
from crate.sweep.define.axes import as_typed, overrides_of, values_of
from crate.sweep.define.count import num_values, require_at_most
from crate.sweep.define.swept import Values
from crate.sweep.options import Sweeper


def points(
    sweep: Sweep,
    typed: list[str],
    loader: ConfigLoader | None = None,
    max_points: int = Sweeper.max_points,
) -> list[list[str]]:
    """Return the overrides of each run: those typed for all runs, its grid values and its seed.

    A key that was typed replaces the key of the sweep's file, or adds one. The keys of `zip` vary
    together, all others are crossed, and the seed varies fastest. `loader` knows the options that a
    `glob(...)` stands for. Before any point is made, raise UserError for more than `max_points`
    points, and for a sweep that contradicts itself.
    """
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(typed)
    keys = {override.get_key_element() for override in given}
    crossed = [override for override in given if override.is_sweep_override()]
    crossed += overrides_of(sweep.grid, keys, parser)
    zipped = overrides_of(sweep.zip, keys, parser)
    _require_equal_lengths(sweep, zipped)
    _require_swept(sweep, keys)
    seeds = [[f"seed={seed}"] for seed in sweep.seeds if "seed" not in keys]
    sizes = [*map(num_values, [*crossed, *zipped[:1]]), len(seeds) or 1]
    require_at_most(max_points, sizes)
    axes = [[[text] for text in values_of(override)] for override in crossed]
    if zipped:
        axes.append([list(texts) for texts in zip(*map(values_of, zipped), strict=True)])
    if seeds:
        axes.append(seeds)
    fixed = [as_typed(override) for override in given if not override.is_sweep_override()]
    all_points = [fixed + list(chain.from_iterable(chosen)) for chosen in product(*axes)]
    kept = [point for point in all_points if not any(_matches(point, row) for row in sweep.exclude)]
    if not kept:
        raise UserError(f"sweep {sweep.name} excludes all of its {len(all_points)} points")
    return kept


def _require_equal_lengths(sweep: Sweep, zipped: list[Override]) -> None:
    """Raise UserError if the keys of `zip` have different numbers of values."""
    lengths = {override.get_key_element(): num_values(override) for override in zipped}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise UserError(f"sweep {sweep.name}: the keys of zip differ in length: {counts}")


def _require_swept(sweep: Sweep, typed: set[str]) -> None:
    """Raise UserError if `exclude` or `baseline` names a key that the sweep does not vary."""
    swept = [*sweep.grid, *sweep.zip, *typed, "seed"]
    for field, rows in (("exclude", sweep.exclude), ("baseline", [sweep.baseline])):
        for key in (key for row in rows for key in row):
            if key not in swept:
                raise UserError(
                    f"sweep {sweep.name}: {field} names {key}, which is not swept",
                    shorten(nearest(key, swept)),
                )


def _matches(point: list[str], row: Values) -> bool:
    """Return whether a point has all the values of a row of `exclude`."""
    parsed = OverridesParser.create().parse_overrides(point)
    values = {override.get_key_element(): override.value() for override in parsed}
    return all(key in values and values[key] == value for key, value in row.items())
