"""How a configuration is stored in run folders, frozen points and checkpoints, and read back.

Beside the values, the names of the schemas that type the nodes are stored: a user's own target may
stand on any schema of its group, and only together they tell what the node's keys mean.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ValidationError

from crate.config.schema.evaluator import Evaluator
from crate.config.schema.field import Target
from crate.config.schema.groups import BASES, SCHEMAS, root
from crate.config.schema.run import Config

NAMES = "schemas"  # key under which the names of the schemas are stored, by group


def dump(config: Config) -> dict[str, Any]:
    """Return a configuration as plain values, of which `restore` makes the same typed tree."""
    names = {group: type(getattr(config, group)).__name__ for group in SCHEMAS}
    return asdict(config) | {NAMES: names}


def restore(values: dict[str, Any]) -> DictConfig:
    """Return the tree of a configuration that `dump` stored, in this version or an earlier one.

    Raise OmegaConfBaseException if a key or value does not fit this version's schema.
    """
    tree, values = root(), dict(values)
    names = values.pop(NAMES, {})
    if not isinstance(names, dict):
        raise ValidationError(f"{NAMES} is not a mapping of groups to names")
    for group in SCHEMAS:
        node = values.get(group)
        if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
            raise ValidationError(f"{group} has no _target_")
        schema = _named(group, names[group]) if group in names else _guessed(group, node)
        if schema is not BASES[group]:
            tree[group] = OmegaConf.structured(schema)
    merged = OmegaConf.merge(tree, values)
    assert isinstance(merged, DictConfig)
    for name, node in merged.evaluators.items():
        if not isinstance(node, DictConfig):
            raise ValidationError(f"evaluators.{name} is not a mapping")
        typed = OmegaConf.structured(Evaluator, flags={"struct": False})
        merged.evaluators[name] = OmegaConf.merge(typed, node)
    return merged


def _named(group: str, name: object) -> type[Target]:
    """Return the schema of a group with the name that was stored."""
    for kind in (BASES[group], *SCHEMAS[group]):
        if kind.__name__ == name:
            return kind
    raise ValidationError(f"{NAMES}.{group}={name} is no schema of {group}")


def _guessed(group: str, node: dict[str, Any]) -> type[Target]:
    """Return the schema of a node for which none was stored.

    Earlier versions stored no name, or only those that the target does not tell. A built-in target
    has the schema that names it; any other target, the first schema that has all keys of the node.
    """
    for kind in SCHEMAS[group]:
        if kind._target_ == node["_target_"]:
            return kind
    kinds = (BASES[group], *SCHEMAS[group])
    fitting = (kind for kind in kinds if node.keys() <= {each.name for each in fields(kind)})
    return next(fitting, BASES[group])
