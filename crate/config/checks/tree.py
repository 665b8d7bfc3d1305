"""Checks of the composed tree, before it is typed: its keys, and values that do not resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from omegaconf import DictConfig, ListConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from crate.config.checks.unknown import absent_key
from crate.config.own import is_own, type_of
from crate.errors import UserError


def key_errors(cfg: DictConfig) -> list[UserError]:
    """Return an error for each key that `+key=value` adds past the schema, or `~key` deletes."""
    return list(_key_errors(cfg, cfg, ""))


def _key_errors(cfg: DictConfig, node: DictConfig, at: str) -> Iterator[UserError]:
    schema = type_of(node)
    if not is_dataclass(schema):
        return
    names = [entry.name for entry in fields(schema)]
    for key in map(str, node):
        child = node._get_node(key)
        if key not in names:
            if not is_own(node):  # otherwise it is an argument of the user's target
                yield absent_key(cfg, f"{at}{key}", names, at)
        elif isinstance(child, DictConfig) and not child._is_interpolation():
            yield from _key_errors(cfg, child, f"{at}{key}.")
    for name in names:
        if node._get_node(name, validate_access=False) is None:  # a missing value is a node
            yield UserError(
                f"{at}{name} was deleted", "changing it", f"{at}{name}=VALUE, without ~"
            )


def value_errors(node: DictConfig | ListConfig, at: str = "") -> list[UserError]:
    """Return an error for each missing value and each interpolation that does not resolve."""
    errors: list[UserError] = []
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        name, raw = f"{at}{key!s}", node._get_node(key)
        assert raw is not None and not isinstance(raw, list)
        if raw._is_interpolation() and "${hydra:job." in str(raw._value()):
            errors.append(_order_error(name, raw._value()))
            continue
        try:
            value = node[key]
        except MissingMandatoryValue:
            chosen = UserError(f"no {name}: nothing is chosen", fix=f"{at[:-1]}=OPTION")
            absent = UserError(f"{name} has no value", fix=f"{name}=VALUE")
            errors.append(chosen if key == "_target_" else absent)
        except OmegaConfBaseException as error:
            errors.append(unresolved(name, error))
        else:
            if isinstance(value, DictConfig | ListConfig):
                errors += value_errors(value, f"{name}.")
    return errors


def unresolved(name: str, error: OmegaConfBaseException) -> UserError:
    """Return the error for a key whose value refers to something that does not exist.

    `name` is "None" where OmegaConf does not know the key.
    """
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


def _order_error(name: str, value: str) -> UserError:
    """Return the error for a value that would depend on when a run starts within its launch."""
    return UserError(
        f"{name}={value} depends on the order in which runs start",
        "a value that belongs to the configuration itself, such as ${seed}",
        f"{name}=VALUE",
    )
