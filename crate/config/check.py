"""Checks a composed configuration and turns it into typed objects, all mistakes at once."""

from __future__ import annotations

import math
import re
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from crate.config.cross import cross_field_errors
from crate.config.evaluators import typed_evaluators
from crate.config.own import is_own, own_arguments
from crate.config.reference.entries import allowed_in_words
from crate.config.reference.keys import declared
from crate.config.schema import ON_OFF, Config
from crate.config.target import own_target_errors
from crate.config.unknown import absent_key
from crate.errors import UserError, nearest, raise_all
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
    cfg, more = typed_evaluators(cfg)
    raise_all(errors + more)
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
            errors.append(absent_key(node._get_root(), f"{at}{key}", names, at))
        elif OmegaConf.is_dict(child := node._get_node(key)) and not child._is_interpolation():
            errors += _key_errors(child, f"{at}{key}.")
    for name in names:
        if name not in node._content:  # a missing value is no deleted key
            errors.append(
                UserError(f"{at}{name} was deleted", "changing it", f"{at}{name}=VALUE, without ~")
            )
    return errors


def _value_errors(node: Any, at: str = "") -> list[UserError]:
    """Finds missing values and interpolations that do not resolve."""
    errors = []
    keys = node.keys() if OmegaConf.is_dict(node) else range(len(node))
    for key in keys:
        name = f"{at}{key}"
        raw = node._get_node(key)
        if raw._is_interpolation() and "${hydra:job." in str(raw._value()):
            errors.append(_job_error(name, raw._value()))
            continue
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
            errors.append(unresolved(name, error))
        else:
            if OmegaConf.is_config(value):
                errors += _value_errors(value, f"{name}.")
    return errors


def unresolved(name: str, error: OmegaConfBaseException) -> UserError:
    """Return the error for a key whose value refers to something that is not there."""
    if variable := re.search(r"Environment variable '(.*?)' not found", str(error)):
        return UserError(
            f"{name}: " * (name != "None") + f"the environment variable {variable[1]} is not set",
            f"a variable that is set, or one with a default: ${{oc.env:{variable[1]},DEFAULT}}",
            f"{variable[1]}=VALUE python launch.py ...",
        )
    if "HydraConfig was not set" in str(error):
        return UserError(
            f"{name} refers to ${{hydra:...}}, which is not known when a sweep is checked",
            "a value, ${KEY} of another key, or ${oc.env:VARIABLE}",
            f"{name}=VALUE",
        )
    return UserError(f"{name}: {str(error).splitlines()[0]}")


def _job_error(name: str, value: str) -> UserError:
    """Return the error for a value that would depend on the place of a run within its launch."""
    return UserError(
        f"{name}={value} depends on the order in which runs start",
        "a value that belongs to the configuration itself, such as ${seed}",
        f"{name}=VALUE",
    )


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
        elif entry.name == "evaluators":
            for key, evaluator in value.items():
                errors += rule_errors(evaluator, f"{name}.{key}.")
        elif value is not None:
            errors += _broken_rule(name, value, entry.metadata)
    return errors


def typed_rule_errors(cfg: DictConfig, overrides: list[str]) -> list[UserError]:
    """Check the values of the keys in `overrides` alone against the rules of their fields."""
    errors = []
    for key in dict.fromkeys(text.lstrip("+").partition("=")[0] for text in overrides):
        declarations = declared().get(key, [])
        value = OmegaConf.select(cfg, key) if declarations else None
        if value is not None and not is_dataclass(OmegaConf.get_type(value)):
            value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            parent = key.rpartition(".")[0]
            kind = OmegaConf.get_type(OmegaConf.select(cfg, parent) if parent else cfg)
            fitting = [each for each in declarations if each.owner is kind] or declarations
            errors += _broken_rule(key, value, fitting[0].field.metadata)
    return errors


def _broken_rule(name: str, value: Any, rules: Any) -> list[UserError]:
    """Return the one rule of a field that its value breaks, if any."""
    choices, length = rules.get("choices"), rules.get("length")
    if choices and not {value, re.sub(r":\d+$", ":N", str(value))} & set(choices):
        if rules.get("own_class") and "." in str(value):
            return []
        slip = (rules.get("slips") or {}).get(str(value).lower())
        ranked = nearest(slip or str(value), choices)
        allowed = allowed_in_words(rules | {"choices": tuple(ranked)})
        return [UserError(f"{name}={value} is unknown", allowed, f"{name}={ranked[0]}")]
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
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            allowed = _broken_bound(number, rules)
            if allowed:
                given = f"{name}={number if isinstance(number, int) else f'{number:g}'}"
                return [UserError(f"{given} is out of range", allowed, f"{name}=VALUE")]
    return []


def _broken_bound(number: float, rules: Any) -> str | None:
    """Return in words the range of a field that a number is outside of, or None."""
    low, above, below = rules.get("at_least"), rules.get("above"), rules.get("below")
    high = rules.get("at_most")
    if high is None and below is None and isinstance(number, int):
        high = 2**63 - 1  # what torch and NumPy can hold
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
    if isinstance(number, int) and number > 2**63:
        named["at most"] = high
    bounds = [
        f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
        for word, bound in named.items()
        if bound is not None
    ]
    return "a finite number " + " and ".join(bounds)
