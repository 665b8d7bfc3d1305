"""A key's type, default and allowed values in words, for help, docs and messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING as NO_DEFAULT
from typing import Any, get_args, get_origin

from omegaconf import MISSING

from crate.config.reference.keys import Key

_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}
_BOUNDS = ("at_least", "above", "at_most", "below")


def kind_in_words(key: Key) -> str:
    """Return the type of a key as a user has to type its value."""
    kind, rules = next(iter(key.types)), key.rules
    if rules.get("choices"):
        words = "choice"
    elif rules.get("size"):
        words = "pixels, or [height,width]"
    elif rules.get("path"):
        words = "path"
    elif get_origin(kind) is list:
        words = f"list of {_PLURALS.get(get_args(kind)[0], 'mappings')}"
    else:
        words = _WORDS.get(kind, "mapping")
    return f"{words}, or null" if type(None) in get_args(key.hint) else words


def allowed_in_words(key: Key) -> str:
    """Return what the rules of a key allow; empty if that is every value of its type."""
    rules = key.rules
    if rules.get("choices"):
        return choices_in_words(rules["choices"], rules)
    if rules.get("words"):
        return ", ".join([*rules["words"], "a path"])
    bounds = {name.replace("_", " "): rules.get(name) for name in _BOUNDS}
    parts = [
        f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in bounds.items()
        if bound is not None
    ]
    parts += [f"{rules['length']} values"] if rules.get("length") else []
    return ", ".join(parts)


def choices_in_words(choices: Iterable[str], rules: Mapping[str, Any]) -> str:
    """Return the choices of a field, in their order here, and what it admits beside them."""
    own = ["the dotted name of your class"] if rules.get("own_class") else []
    return ", ".join([*choices, *own])


def default_in_words(key: Key) -> str:
    """Return the default of a key; empty if it has none, `as KEY` if another key gives it."""
    make = key.field.default_factory
    value = key.field.default if make is NO_DEFAULT else make()
    if value == MISSING:
        return ""
    if isinstance(value, str):
        return f"as {value[2:-1]}" if value.startswith("${") else value
    return json.dumps(value)
