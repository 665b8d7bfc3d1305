"""Checks a composed configuration and turns it into typed objects, all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from crate.config.cross import cross_field_errors
from crate.config.errors import UserError, close, nearest, raise_all, shorten
from crate.config.own import is_own, own_arguments
from crate.config.schema import ON_OFF, Config
from crate.config.target import own_target_errors
from crate.paths import CHECKOUT as CHECKOUT
from crate.paths import absolute


def typed(cfg: DictConfig, found: list[UserError] | None = None) -> Config:
    """Returns `cfg` resolved, checked and typed, with absolute paths.

    Raises UserError for every mistake together: keys outside the schema, missing values,
    interpolations that lead nowhere, values outside their range, combinations that cannot be,
    arguments that a user's own target does not take; `found` adds what the caller knows already.
    """
    errors = list(found or []) + _key_errors(cfg) + _value_errors(cfg)
    raise_all(errors)
    cfg, errors = own_arguments(cfg)
    raise_all(errors)
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from None
    assert isinstance(config, Config)
    _complete(config)
    errors = rule_errors(config) or cross_field_errors(config)
    raise_all(errors + own_target_errors(config))
    return config


def _key_errors(node: DictConfig, at: str = "") -> list[UserError]:
    """Finds keys that `+key=value` brought past the schema, and those that `~key` took away."""
    schema = OmegaConf.get_type(node)
    if not is_dataclass(schema):
        return []
    errors, names = [], [entry.name for entry in fields(schema)]
    for key in node:
        if key not in names and is_own(node):
            continue  # an argument of the user's own target
        if key not in names:
            moved = key_elsewhere(node._get_root(), f"{at}{key}")
            errors.append(moved or unknown_key(f"{at}{key}", names, at))
        elif OmegaConf.is_dict(child := node._get_node(key)) and not child._is_interpolation():
            errors += _key_errors(child, f"{at}{key}.")
    for name in names:
        if name not in node._content:  # a missing value is no deleted key
            errors.append(
                UserError(f"{at}{name} was deleted", "changing it", f"{at}{name}=VALUE, without ~")
            )
    return errors


def key_elsewhere(cfg: DictConfig, key: str) -> UserError | None:
    """Return the error for a key whose last name is elsewhere in the tree: lr, optimizer.lr."""
    last = key.split(".")[-1]
    elsewhere = [path for path in _paths(cfg) if path.split(".")[-1] == last and path != key]
    if not elsewhere:
        return None
    return UserError(
        f"there is no key {key}; did you mean {elsewhere[0]}?",
        shorten(elsewhere),
        f"{elsewhere[0]}=VALUE",
    )


def _paths(node: DictConfig, at: str = "") -> Iterator[str]:
    for key in node:
        child = node._get_node(key)
        yield f"{at}{key}"
        if OmegaConf.is_dict(child):
            yield from _paths(child, f"{at}{key}.")


def unknown_key(key: str, names: list[str], at: str) -> UserError:
    """Return the error for a key that a node of the tree does not have, nearest names first."""
    # A built-in target takes no kwargs; a user's own takes keys that the schema lacks.
    names = [name for name in names if not name.startswith("_") and name != "kwargs"]
    last = key[len(at) :]
    slip = close(last, names)
    guess = f"; did you mean {at}{slip[0]}?" if slip else ""
    return UserError(
        f"there is no key {key}{guess}",
        shorten((f"{at}{name}" for name in nearest(last, names)), 8),
        f"{at}{slip[0]}=VALUE" if slip else None,
    )


def _value_errors(node: Any, at: str = "") -> list[UserError]:
    """Finds missing values and interpolations that do not resolve."""
    errors = []
    keys = node.keys() if OmegaConf.is_dict(node) else range(len(node))
    for key in keys:
        name = f"{at}{key}"
        try:
            value = node[key]
        except MissingMandatoryValue:
            if key == "_target_":
                errors.append(
                    UserError(f"no {at}{key}: nothing is chosen", fix=f"{at[:-1]}=OPTION")
                )
            else:
                errors.append(UserError(f"{name} has no value", fix=f"{name}=VALUE"))
        except OmegaConfBaseException as error:
            errors.append(UserError(f"{name}: {str(error).splitlines()[0]}"))
        else:
            if OmegaConf.is_config(value):
                errors += _value_errors(value, f"{name}.")
    return errors


def _complete(node: Any) -> None:
    """Make paths absolute, relative ones from the checkout, and turn YAML's booleans into words."""
    for entry in fields(node):
        value = getattr(node, entry.name)
        if is_dataclass(value):
            _complete(value)
        elif "on" in (entry.metadata.get("choices") or ()):
            setattr(node, entry.name, ON_OFF.get(str(value).lower(), value))
        elif entry.metadata.get("path") and value not in (None, "", *entry.metadata["words"]):
            setattr(node, entry.name, str(absolute(value)))


def rule_errors(node: Any, at: str = "") -> list[UserError]:
    """Checks each value against the rules of its field."""
    errors = []
    for entry in fields(node):
        value, name = getattr(node, entry.name), f"{at}{entry.name}"
        if is_dataclass(value):
            errors += rule_errors(value, f"{name}.")
        elif value is not None:
            errors += _broken_rule(name, value, entry.metadata)
    return errors


def _broken_rule(name: str, value: Any, rules: Any) -> list[UserError]:
    """Returns the one rule of a field that its value breaks, if any."""
    choices, length = rules.get("choices"), rules.get("length")
    if choices and value not in choices:
        ranked = nearest(str(value), choices)
        return [UserError(f"{name}={value} is unknown", ", ".join(ranked), f"{name}={ranked[0]}")]
    if rules.get("path") and value == "":
        return [UserError(f"{name}= names no path", "a file or a folder", f"{name}=PATH")]
    if rules.get("size"):
        pair = value if isinstance(value, list) else [value]
        if not all(type(side) is int and side > 0 for side in pair) or len(pair) not in (1, 2):
            allowed = "a positive whole number, or a pair [height,width]"
            return [UserError(f"{name}={value} is no size in pixels", allowed, f"{name}=16")]
        return []
    if length is not None and len(value) != length:
        allowed = f"{length} numbers"
        example = "[" + ",".join(["0.9"] * length) + "]"
        return [
            UserError(f"{name}={value} has {len(value)} value(s)", allowed, f"{name}={example}")
        ]
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        low, above, below = rules.get("at_least"), rules.get("above"), rules.get("below")
        if (
            (low is not None and not number >= low)
            or (above is not None and not number > above)
            or (below is not None and not number < below)
            or number in (float("inf"), float("-inf"))
        ):
            bounds = [
                f"{word} {bound:g}"
                for word, bound in (("at least", low), ("above", above), ("below", below))
                if bound is not None
            ]
            allowed = "a finite number " + " and ".join(bounds)
            return [UserError(f"{name}={number:g} is out of range", allowed, f"{name}=VALUE")]
    return []
