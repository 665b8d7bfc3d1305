"""The axes of a sweep: each key that varies, with its values in Hydra's own grammar."""

from __future__ import annotations

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from crate.config.commandline.overrides import normal
from crate.errors import UserError
from crate.sweep.define.swept import Values


def overrides_of(grid: Values, typed: set[str], parser: OverridesParser) -> list[Override]:
    """Return the override of each key of a grid, except for the keys that were `typed` as well.

    Raise UserError for values that Hydra's grammar cannot read.
    """
    overrides = []
    for key, values in grid.items():
        if key not in typed:
            texts = map(as_text, values if isinstance(values, list) else [values])
            override = normal(f"{key}={','.join(texts)}")
            try:
                overrides.append(parser.parse_override(override))
            except HydraException:
                fix = f'{key}: ["VALUE", ...], quoted for YAML and for Hydra'
                raise UserError(f"cannot read the sweep's {override!r}", fix=fix) from None
    return overrides


def as_text(value: Any) -> str:
    """Return a value of YAML as Hydra's grammar writes it."""
    return "null" if value is None else str(value)


def as_typed(override: Override) -> str:
    """Return an override as it was typed."""
    assert override.input_line is not None  # the parser sets it
    return override.input_line


def values_of(override: Override) -> list[str]:
    """Return an override for each value of an override that may sweep.

    Raise UserError if it has no value, or no end of values.
    """
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    typed = as_typed(override)
    if not override.is_discrete_sweep():
        raise UserError(f"{typed} has no end of values", "a list or a range", f"{key}=1,2,3")
    texts = [f"{key}={text}" for text in override.sweep_string_iterator()]
    if not texts:
        raise UserError(f"{typed} has no value", "one option or more", f"{key}=A,B")
    return texts
