"""Which runs of a sweep the words of a command line mean."""

from __future__ import annotations

from typing import Any

from crate.config.label import short_names
from crate.errors import UserError, nearest, shorten
from crate.sweep.define.swept import Values, as_words


def matching(swept: dict[str, Values], words: list[str]) -> list[str]:
    """Return the signatures of the runs that every word matches.

    A word is `sparsity=0.1`, with as much of the key as tells it from others, or the start of a
    signature. `swept` holds the swept values of all runs by signature. Raise UserError, with the
    nearest words that match a run, if no run is left.
    """
    if not swept:
        raise UserError("the sweep has no run with readable files")
    keys = [key for key, values in swept.items() if all(_fits(key, values, word) for word in words)]
    if keys:
        return keys
    for word in words:
        if not any(_fits(key, values, word) for key, values in swept.items()):
            raise _unknown(word, swept)
    raise UserError(
        f"no run of the sweep is {' '.join(words)}",
        shorten((f"{as_words(values)} ({key})" for key, values in swept.items()), 6),
        as_words(next(iter(swept.values()))),
    )


def _fits(signature: str, values: Values, word: str) -> bool:
    name, sign, value = word.partition("=")
    if not sign:
        return signature.startswith(word)
    return any(_is_ending(name, key) and _is_same(value, each) for key, each in values.items())


def _is_ending(name: str, key: str) -> bool:
    return key == name or key.endswith(f".{name}")


def _is_same(text: str, value: Any) -> bool:
    """Return whether a typed text means a swept value; `.10` means 0.1."""
    if text == str(value):
        return True
    if isinstance(value, bool) or value is None:
        return text.lower() == ("null" if value is None else str(value).lower())
    try:
        return isinstance(value, int | float) and float(text) == value
    except ValueError:
        return False


def _unknown(word: str, swept: dict[str, Values]) -> UserError:
    """Return the error for a word that matches no run, with the nearest words that do."""
    name, sign, value = word.partition("=")
    names = short_names(key for values in swept.values() for key in values)
    if not sign:
        given = f"{word} is neither KEY=VALUE nor the start of a signature"
        ranked = nearest(word, swept)
        return UserError(given, shorten([*names.values(), *ranked], 8), ranked[0])
    matching_names = {key: short for key, short in names.items() if _is_ending(name, key)}
    if not matching_names:
        ranked = nearest(name, names.values())
        given = f"no run of the sweep is {word}: it does not vary {name}"
        return UserError(given, shorten(ranked), f"{ranked[0]}=VALUE")
    key, short = next(iter(matching_names.items()))
    present = dict.fromkeys(str(values[key]) for values in swept.values() if key in values)
    ranked = _by_distance(value, list(present))
    allowed = f"{short}={', '.join(ranked[:12])}"
    return UserError(f"no run of the sweep is {word}", allowed, f"{short}={ranked[0]}")


def _by_distance(value: str, present: list[str]) -> list[str]:
    """Return values with the nearest first: by difference if they are numbers, or by spelling."""
    try:
        return sorted(present, key=lambda text: abs(float(text) - float(value)))
    except ValueError:
        return nearest(value, present)
