"""Checks of single values against the rules that their fields are declared with."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from crate.config.reference.keys import declared
from crate.config.reference.words import choices_in_words
from crate.errors import UserError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Rules = Mapping[str, Any]  # the metadata of a field, which `crate.config.schema.option` makes
LARGEST_INT = 2**63 - 1  # that torch and NumPy can hold


def rule_errors(node: DataclassInstance, at: str = "") -> list[UserError]:
    """Return the errors of the values of a typed node, and of the nodes inside it."""
    errors = []
    for entry in fields(node):
        value, name = getattr(node, entry.name), f"{at}{entry.name}"
        if is_dataclass(value) and not isinstance(value, type):
            errors += rule_errors(value, f"{name}.")
        elif entry.name == "evaluators":
            for key, evaluator in value.items():
                errors += rule_errors(evaluator, f"{name}.{key}.")
        elif value is not None:
            errors += _broken_rules(name, value, entry.metadata)
    return errors


def typed_rule_errors(cfg: DictConfig, overrides: list[str]) -> list[UserError]:
    """Return the errors of the values of the keys in `overrides`, and of no other keys."""
    errors: list[UserError] = []
    for key in dict.fromkeys(text.lstrip("+").partition("=")[0] for text in overrides):
        declarations = declared().get(key, [])
        value = OmegaConf.select(cfg, key) if declarations else None
        if value is not None and not is_dataclass(OmegaConf.get_type(value)):
            value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            parent = key.rpartition(".")[0]
            kind = OmegaConf.get_type(OmegaConf.select(cfg, parent) if parent else cfg)
            fitting = [each for each in declarations if each.owner is kind] or declarations
            errors += _broken_rules(key, value, fitting[0].rules)
    return errors


def _broken_rules(name: str, value: Any, rules: Rules) -> list[UserError]:
    """Return the first rule that a value breaks, if any."""
    broken = (error for check in _CHECKS for error in check(name, value, rules))
    return [error for error in [next(broken, None)] if error]


def _outside_choices(name: str, value: Any, rules: Rules) -> Iterator[UserError]:
    choices = rules.get("choices")
    is_own_class = rules.get("own_class") and "." in str(value)
    if (
        choices
        and not is_own_class
        and not {value, re.sub(r":\d+$", ":N", str(value))} & set(choices)
    ):
        slip = (rules.get("slips") or {}).get(str(value).lower())
        ranked = nearest(slip or str(value), choices)
        allowed = choices_in_words(ranked, rules)
        yield UserError(f"{name}={value} is unknown", allowed, f"{name}={ranked[0]}")


def _empty_path(name: str, value: Any, rules: Rules) -> Iterator[UserError]:
    if rules.get("path") and value == "":
        yield UserError(f"{name}= names no path", "a file or a folder", f"{name}=PATH")


def _no_size(name: str, value: Any, rules: Rules) -> Iterator[UserError]:
    sides = value if isinstance(value, list) else [value]
    is_size = all(type(side) is int and side > 0 for side in sides) and len(sides) in (1, 2)
    if rules.get("size") and not is_size:
        allowed = "a positive whole number, or a pair [height,width]"
        yield UserError(f"{name}={value} is no size in pixels", allowed, f"{name}=16")


def _wrong_length(name: str, value: Any, rules: Rules) -> Iterator[UserError]:
    length = rules.get("length")
    if length is not None and len(value) != length:
        given = f"{name}={value} has {len(value)} value(s)"
        yield UserError(given, f"{length} numbers", f"{name}=[{','.join(['0.9'] * length)}]")


def _out_of_range(name: str, value: Any, rules: Rules) -> Iterator[UserError]:
    for number in value if isinstance(value, list) else [value]:
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if is_number and not rules.get("size") and (allowed := _broken_range(number, rules)):
            given = f"{name}={number if isinstance(number, int) else f'{number:g}'}"
            yield UserError(f"{given} is out of range", allowed, f"{name}=VALUE")


_CHECKS = (_outside_choices, _empty_path, _no_size, _wrong_length, _out_of_range)


def _broken_range(number: float, rules: Rules) -> str | None:
    """Return in words the range that a number is outside of, or None if it is inside."""
    low, above, below = rules.get("at_least"), rules.get("above"), rules.get("below")
    high = rules.get("at_most")
    if high is None and below is None and isinstance(number, int):
        high = LARGEST_INT
    is_in = (
        (low is None or number >= low)
        and (high is None or number <= high)
        and (above is None or number > above)
        and (below is None or number < below)
        and math.isfinite(number)
    )
    if is_in:
        return None
    named = {"at least": low, "above": above, "at most": rules.get("at_most"), "below": below}
    if isinstance(number, int) and number > LARGEST_INT + 1:
        named["at most"] = high
    bounds = [
        f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in named.items()
        if bound is not None
    ]
    return "a finite number " + " and ".join(bounds)
