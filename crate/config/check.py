"""The check of a composed configuration, which makes it typed and reports all mistakes at once."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config.checks.combinations import combination_errors
from crate.config.checks.rules import rule_errors
from crate.config.checks.targets import target_errors
from crate.config.checks.tree import key_errors, value_errors
from crate.config.evaluators import typed_evaluators
from crate.config.own import own_arguments
from crate.config.schema import ON_OFF, Config
from crate.errors import UserError, raise_all
from crate.paths import absolute

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def typed(cfg: DictConfig, known: list[UserError] | None = None) -> Config:
    """Return `cfg` resolved, checked and typed, with absolute paths.

    Raise UserError for all mistakes together: keys outside the schema, missing values,
    interpolations that lead nowhere, values outside their range, combinations that cannot be,
    arguments that a user's own target does not take. `known` are mistakes that the caller found.
    """
    raise_all([*(known or []), *key_errors(cfg), *value_errors(cfg)])
    cfg, errors = own_arguments(cfg)
    cfg, more = typed_evaluators(cfg)
    raise_all(errors + more)
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise UserError(str(error).splitlines()[0]) from None
    assert isinstance(config, Config)
    _complete(config)
    errors = rule_errors(config) or combination_errors(config)
    raise_all(errors + target_errors(config))
    return config


def _complete(node: DataclassInstance) -> None:
    """Make paths absolute, relative ones from the checkout, and turn YAML's booleans into words."""
    for entry in fields(node):
        value, rules = getattr(node, entry.name), entry.metadata
        if is_dataclass(value) and not isinstance(value, type):
            _complete(value)
        elif "on" in (rules.get("choices") or ()):
            setattr(node, entry.name, ON_OFF.get(str(value).lower(), value))
        elif rules.get("path") and value not in (None, "", *rules["words"]):
            setattr(node, entry.name, str(absolute(value)))
