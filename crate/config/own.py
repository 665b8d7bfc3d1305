"""The keys that a user's own node adds to its schema: further arguments of its target."""

from __future__ import annotations

from dataclasses import fields

from omegaconf import DictConfig, OmegaConf

from crate.config.schema import SCHEMAS, Target
from crate.errors import UserError


def is_own(node: DictConfig) -> bool:
    """Return whether a node of the composed tree builds a user's own target.

    It answers for the tree what `Target.is_own` answers for the typed configuration.
    """
    schema = OmegaConf.get_type(node)
    if not issubclass(schema, Target) or OmegaConf.is_missing(node, "_target_"):
        return False
    return node._target_ != schema._target_


def added_keys(node: DictConfig) -> list[str]:
    """Return the keys that the schema of a typed node does not have."""
    names = {entry.name for entry in fields(OmegaConf.get_type(node))}
    return [key for key in node if key not in names]


def own_arguments(cfg: DictConfig) -> tuple[DictConfig, list[UserError]]:
    """Return `cfg` with the added keys of the user's own nodes under `kwargs`, and what is wrong.

    `cfg` is left as it is. So `model.gate=0.5` and `model.kwargs.gate=0.5` make the same
    configuration, and a key given both ways is an error.
    """
    own = [group for group in SCHEMAS if is_own(cfg[group]) and added_keys(cfg[group])]
    if not own:
        return cfg, []
    cfg, errors = cfg.copy(), []
    OmegaConf.resolve(cfg)  # before keys move away from what they refer to
    for group in own:
        node = cfg[group]
        OmegaConf.set_struct(node, False)  # else no key of a typed node can be removed
        for key in added_keys(node):
            if key in node.kwargs:
                given = f"{group}.{key} and {group}.kwargs.{key} are the same argument"
                errors.append(UserError(given, "one of them", f"{group}.{key}=VALUE"))
            node.kwargs[key] = node._get_node(key)
            del node[key]
    return cfg, errors
