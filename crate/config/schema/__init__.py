"""The typed tree of a configuration: the only place of defaults.

Every field says what it is (`help`), whether it can change a run's result and so belongs to the
run's identity (`identity`), the value at which it counts as absent from that identity
(`neutral`), and what it may be. YAML files under `conf/` hold only what differs from here.

A node with a `_target_` is built by calling that target with the node's fields and `kwargs`.
A user's own node has another `_target_` than its schema. The schema is the group's base class, or
one of those below, whose fields the target then takes too. Keys that the schema lacks are further
arguments: `crate.config.check` moves them into `kwargs`.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ValidationError

from crate.config.schema.augment import Augment, FlipCrop, NoAugment, RandAugment, TrivialAugment
from crate.config.schema.data import (
    CIFAR10,
    CIFAR100,
    Data,
    Digits,
    Downloadable,
    Downloaded,
    FashionMNIST,
    Flowers,
    Folder,
    Pets,
    evaluation_px,
)
from crate.config.schema.evaluator import Evaluator
from crate.config.schema.field import NO_NEUTRAL, ON_OFF, Target, option, pair
from crate.config.schema.model import CRATE, Model, Transformer, ViT
from crate.config.schema.objective import Objective
from crate.config.schema.optimizer import SGD, Adam, AdamW, Lion, Optimizer
from crate.config.schema.run import Config, Sweep, Train
from crate.config.schema.schedule import AuthorsSchedule, Cosine, Schedule
from crate.config.schema.tracker import TensorBoard, Tracker, Wandb

SCHEMAS: dict[str, tuple[type, ...]] = {
    "model": (CRATE, ViT),
    "optimizer": (Lion, Adam, AdamW, SGD),
    "data": (Digits, FashionMNIST, CIFAR10, CIFAR100, Flowers, Pets, Folder, Downloaded),
    "schedule": (Cosine, AuthorsSchedule),
    "augment": (NoAugment, FlipCrop, RandAugment, TrivialAugment),
    "tracker": (Wandb, TensorBoard),
}


BASES: dict[str, type] = {
    "model": Model,
    "optimizer": Optimizer,
    "data": Data,
    "schedule": Schedule,
    "augment": Augment,
    "tracker": Tracker,
}


def targets(config: Config) -> dict[str, Target]:
    """Return the nodes of a checked configuration that build something, by their keys."""
    groups = {group: getattr(config, group) for group in BASES}
    return groups | {f"evaluators.{name}": node for name, node in config.evaluators.items()}


def register() -> None:
    """Put the root schema and the typed nodes into Hydra's store.

    A YAML file takes its type with `defaults: [/schema/model/CRATE@_here_, _self_]`. The nodes
    admit further keys, which the check accepts for a user's own target alone.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=_root())
    for group, kinds in SCHEMAS.items():
        for kind in kinds:
            node = OmegaConf.structured(kind, flags={"struct": False})
            store.store(group=f"schema/{group}", name=kind.__name__, node=node)


def dump(config: Config) -> dict[str, Any]:
    """Return a configuration as plain values, of which `restore` makes the same typed tree.

    The schema of a node is stored where its `_target_` does not tell it.
    """
    values = asdict(config)
    schemas = {group: type(getattr(config, group)) for group in SCHEMAS}
    untold = {
        group: schema.__name__
        for group, schema in schemas.items()
        if schema is not _by_target(group, values[group])
    }
    return values | ({"schemas": untold} if untold else {})


def restore(values: dict[str, Any]) -> DictConfig:
    """Return the tree of a configuration that `dump` stored.

    Raise OmegaConfBaseException where a key or value does not fit this version's schema.
    """
    tree, values = _root(), dict(values)
    names = values.pop("schemas", {})
    for group in SCHEMAS:
        node = values.get(group)
        if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
            raise ValidationError(f"{group} has no _target_")
    if not isinstance(names, dict):
        raise ValidationError("schemas is not a mapping of groups to names")
    for group, kinds in SCHEMAS.items():
        by_name = {kind.__name__: kind for kind in (BASES[group], *kinds)}
        schema = by_name.get(names.get(group)) or _by_target(group, values[group])
        if schema is BASES[group]:
            schema = _by_keys(group, values[group])
        if schema is not BASES[group]:
            tree[group] = OmegaConf.structured(schema)
    return OmegaConf.merge(tree, values)


def _root() -> DictConfig:
    """Return the root's tree, whose nodes admit keys beside those of their schemas."""
    tree = OmegaConf.structured(Config)
    for group in BASES:
        OmegaConf.set_struct(tree[group], False)
    return tree


def _by_target(group: str, values: dict[str, Any]) -> type:
    """Return the schema of a built-in target, and the base class for any other target."""
    by_target = {kind._target_: kind for kind in SCHEMAS[group]}
    return by_target.get(values["_target_"], BASES[group])


def _by_keys(group: str, values: dict[str, Any]) -> type:
    """Return the first schema that has all keys; earlier versions stored no schema."""
    kinds = (BASES[group], *SCHEMAS[group])
    fitting = (kind for kind in kinds if values.keys() <= {each.name for each in fields(kind)})
    return next(fitting, BASES[group])
