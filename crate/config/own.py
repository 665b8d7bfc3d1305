"""The keys that a user's own node adds to its schema: further arguments of its target."""

from __future__ import annotations

from dataclasses import fields

from omegaconf import DictConfig, OmegaConf

from crate.config.schema import SCHEMAS, Target
from crate.errors import UserError


def type_of(node: DictConfig) -> type:
    """Return the dataclass that types a node, or `dict` for an untyped node."""
    return OmegaConf.get_type(node) or dict


def is_own(node: object) -> bool:
    """Return whether a node of the composed tree builds a user's own target.

    The answer is that of `Target.is_own`, given before the node is typed.
    """
    if not isinstance(node, DictConfig) or OmegaConf.is_missing(node, "_target_"):
        return False
    schema = type_of(node)
    return issubclass(schema, Target) and schema.is_own_target(node._target_)


def added_keys(node: DictConfig) -> list[str]:
    """Return the keys that the schema of a typed node does not have."""
    names = {entry.name for entry in fields(type_of(node))}
    return [str(key) for key in node if key not in names]


def own_arguments(cfg: DictConfig) -> tuple[DictConfig, list[UserError]]:
    """Return `cfg` with the added keys of the user's own nodes under `kwargs`, and the mistakes.

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
        OmegaConf.set_struct(node, False)  # otherwise no key of a typed node can be removed
        for key in added_keys(node):
            if key in node.kwargs:
                given = f"{group}.{key} and {group}.kwargs.{key} are the same argument"
                errors.append(UserError(given, "one of them", f"{group}.{key}=VALUE"))
            node.kwargs[key] = node._get_node(key)
            del node[key]
    return cfg, errors


def stored_key(tree: DictConfig, key: str) -> str:
    """Return where a stored configuration holds a key: an own target's arguments in `kwargs`."""
    at, _, name = key.partition(".")
    if at == "evaluators" and "." in name:
        at, name = f"evaluators.{name.partition('.')[0]}", name.partition(".")[2]
    node = OmegaConf.select(tree, at)
    if is_own(node) and name.partition(".")[0] not in node:
        return f"{at}.kwargs.{name}"
    return key
