"""From a sweep to its points: the overrides of each run, in Hydra's own grammar."""

from __future__ import annotations

from itertools import chain, product
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from crate.config.commandline.overrides import normal
from crate.config.schema import Sweep
from crate.errors import UserError, nearest, shorten
from crate.sweep.define.count import num_values, require_at_most
from crate.sweep.options import Sweeper


def points(
    sweep: Sweep,
    typed: list[str],
    loader: ConfigLoader | None = None,
    max_points: int = Sweeper.max_points,
) -> list[list[str]]:
    """Return each run's overrides: what was typed for all, then its place in the grid and a seed.

    A key typed on the command line replaces that of the file, or adds one. Keys of `zip` go
    together, all others are crossed; the seed changes fastest. `loader` knows the options that a
    `glob(...)` stands for. Raises UserError for a sweep that makes no sense, and for more than
    `max_points` points, before any is made.
    """
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(typed)
    theirs = {override.get_key_element() for override in given}
    crossed = [override for override in given if override.is_sweep_override()]
    crossed += _overrides(sweep.grid, theirs, parser)
    together = _overrides(sweep.zip, theirs, parser)
    _require_equal_lengths(sweep, together)
    _require_swept(sweep, theirs)
    seeds = [[f"seed={seed}"] for seed in sweep.seeds if "seed" not in theirs]
    sizes = [*map(num_values, [*crossed, *together[:1]]), len(seeds) or 1]
    require_at_most(max_points, sizes)
    axes = [[[text] for text in _values(override)] for override in crossed]
    if together:
        axes.append([list(texts) for texts in zip(*map(_values, together), strict=True)])
    if seeds:
        axes.append(seeds)
    fixed = [override.input_line for override in given if not override.is_sweep_override()]
    found = [list(chain.from_iterable(chosen)) for chosen in product(*axes)]
    whole = [fixed + point for point in found]
    kept = [point for point in whole if not any(_matches(point, row) for row in sweep.exclude)]
    if not kept:
        raise UserError(f"sweep {sweep.name} excludes all of its {len(found)} points")
    return kept


def _overrides(grid: dict[str, Any], theirs: set[str], parser: OverridesParser) -> list[Override]:
    """Return the override of each key of a grid that was not typed as well."""
    overrides = []
    for key, values in grid.items():
        if key not in theirs:
            texts = map(text, values if isinstance(values, list) else [values])
            override = normal(f"{key}={','.join(texts)}")
            try:
                overrides.append(parser.parse_override(override))
            except HydraException:
                fix = f'{key}: ["VALUE", ...], quoted for YAML and for Hydra'
                raise UserError(f"cannot read the sweep's {override!r}", fix=fix) from None
    return overrides


def text(value: Any) -> str:
    """Return a value of YAML as Hydra's grammar writes it."""
    return "null" if value is None else str(value)


def _values(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise UserError(
            f"{override.input_line} has no end of values", "a list or a range", f"{key}=1,2,3"
        )
    texts = [f"{key}={text}" for text in override.sweep_string_iterator()]
    if not texts:
        raise UserError(f"{override.input_line} has no value", "an option or more", f"{key}=A,B")
    return texts


def _require_equal_lengths(sweep: Sweep, together: list[Override]) -> None:
    """Raise UserError where the keys of `zip` have different numbers of values."""
    lengths = {override.get_key_element(): num_values(override) for override in together}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise UserError(f"sweep {sweep.name}: the keys of zip differ in length: {counts}")


def _require_swept(sweep: Sweep, theirs: set[str]) -> None:
    """Raises UserError where `exclude` or `baseline` names a key that the sweep does not vary."""
    swept = [*sweep.grid, *sweep.zip, *theirs, "seed"]
    for where, rows in (("exclude", sweep.exclude), ("baseline", [sweep.baseline])):
        for key in (key for row in rows for key in row):
            if key not in swept:
                raise UserError(
                    f"sweep {sweep.name}: {where} names {key}, which is not swept",
                    shorten(nearest(key, swept)),
                )


def _matches(point: list[str], row: dict[str, Any]) -> bool:
    """Whether a point has all the values of a row of `exclude`."""
    parsed = OverridesParser.create().parse_overrides(point)
    values = {override.get_key_element(): override.value() for override in parsed}
    return all(key in values and values[key] == value for key, value in row.items())
