"""Overrides such as `train.epochs=1e3`, rewritten so that Hydra reads what the user means.

Hydra converts a value before it knows the type of its key: `1e3` becomes a float, which a whole
number refuses; `outputs=1e400` becomes infinity; `data.root=~/images` is not in its grammar. The
schema knows the type, so the text is rewritten here, for the command line and for sweep files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from crate.config.reference.keys import Key, declared
from crate.errors import UserError

# Dictionaries with dotted keys: `sweep.grid.model.sparsity=[0.3]` sets the entry `model.sparsity`.
BY_DOTTED_KEY = ("sweep.grid", "sweep.zip", "sweep.baseline", "hydra.sweeper.params")
# Hydra's own settings of folders, which nothing reads: the configuration names a run's folder.
FOLDERS = ("hydra.run.", "hydra.sweep.", "hydra.output_subdir")

_NUMBER = re.compile(r"(?<![\w.+-])\+?(?:\d+\.?\d*|\.\d+)(?:[eE]\+?\d+)?(?![\w.])")
_INTEGER = re.compile(r"[+-]?\d[\d_]*")
_MOST_DIGITS = 30  # far above the bound of any key


def normal(
    text: str, groups: Collection[str] = (), more: dict[str, list[Key]] | None = None
) -> str:
    """Return an override that Hydra reads as the user means `text`.

    `groups` are the groups of the defaults list, so that `+experiment=paper` is a choice; `more`
    declares keys outside the schema, such as a launcher's. Raise UserError for a value that Hydra
    would turn into a different one, and for a key that nothing reads.
    """
    left, equals, value = text.partition("=")
    key = left.lstrip("+")
    if not equals or left.startswith("~"):
        return text
    _require_read(key, value)
    if key == "sweep" and "," in value:
        first = value.partition(",")[0]
        raise UserError(f"{text} names several sweeps", "one sweep per launch", f"sweep={first}")
    if key in BY_DOTTED_KEY:
        return f"++{key}={value}"  # adds entries and replaces them
    for parent in BY_DOTTED_KEY:
        if key.startswith(f"{parent}."):
            entry, _, value = normal(f"{key.removeprefix(f'{parent}.')}={value}").partition("=")
            return f"++{parent}={{{entry}: {_one_value(value)}}}"
    declarations = declared().get(key) or (more or {}).get(key, [])
    types = {kind for each in declarations for kind in each.types}
    if left != key and key in groups:
        left = key  # the defaults list already has this group
    elif left != key and types and not any(get_origin(kind) is dict for kind in types):
        left = f"++{key}"  # changes a key that exists, or adds it
    is_size = any(each.rules.get("size") for each in declarations)
    if types == {bool}:
        _require_truth(key, value)
    elif int in types or is_size:
        value = _NUMBER.sub(_whole, value)
    elif types == {str} and key not in groups:
        value = _literal(value)
    else:
        value = _each(value, lambda each: quote(each) if each.startswith("~") else each)
    return f"{left}={value}"


def quote(text: str, kind: Quote = Quote.single) -> str:
    """Return a text in the quotes of Hydra's grammar."""
    return QuotedString(text=text, quote=kind).with_quotes()


def _require_read(key: str, value: str) -> None:
    """Raise UserError for a key that Hydra has, or seems to have, but that nothing reads."""
    if not key.startswith(FOLDERS):
        return
    last = key.rpartition(".")[2]
    if key.startswith("hydra.sweep.") and last not in ("dir", "subdir") and last in declared():
        raise UserError(
            f"there is no key {key}; did you mean {last}?",
            "keys of a sweep are name, sweep.KEY and hydra.sweeper.KEY",
            f"{last}={value}",
        )
    folder = value if key.endswith(".dir") and "$" not in value else "FOLDER"
    raise UserError(
        f"{key}={value}: the configuration names the folder of a run, below outputs",
        "outputs, the folder of all run and sweep folders",
        f"outputs={folder}",
    )


def _require_truth(key: str, value: str) -> None:
    """Raise UserError for a whole number other than 0 and 1, which OmegaConf reads as true."""
    for each in value.split(","):
        if _INTEGER.fullmatch(each) and int(each) not in (0, 1):
            raise UserError(f"{key}={each} is neither true nor false", "true, false", f"{key}=true")


def _one_value(value: str) -> str:
    """Return the value of a dictionary's entry, quoted if it is several values, as in `0.1,0.5`."""
    parsed = _parsed(value)
    return quote(value) if parsed is not None and parsed.is_sweep_override() else value


def _literal(value: str) -> str:
    """Return the value of a text key, quoted if Hydra would not read it as text."""
    if set("()[]{}'\"") & set(value):
        return value if _parsed(value) is not None else quote(value)
    return _each(value, lambda each: each if _is_text(each) else quote(each))


def _is_text(value: str) -> bool:
    parsed = _parsed(value)
    return parsed is not None and isinstance(parsed.value(), str | QuotedString | None)


def _each(value: str, change: Callable[[str], str]) -> str:
    """Return `value` with each part between commas changed; a value with brackets is unchanged."""
    if set("()[]{}'\"") & set(value):
        return value
    return ",".join(map(change, value.split(",")))


def _parsed(value: str) -> Override | None:
    """Return a value as Hydra parses it, or None if it cannot."""
    try:
        return OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return None


def _whole(match: re.Match[str]) -> str:
    """Return 1000 for a number such as 1e3; a fraction or a huge number is unchanged."""
    number = Decimal(match[0])
    is_whole = number.adjusted() < _MOST_DIGITS and number == number.to_integral_value()
    return str(int(number)) if is_whole else match[0]
