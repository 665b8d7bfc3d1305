"""The typed tree of a configuration: the only place of defaults.

Every field says what it is (`help`), whether it can change a run's result and so belongs to the
run's identity (`identity`), the value at which it counts as absent from that identity
(`neutral`), and what it may be. YAML files under `conf/` hold only what differs from here.

A node with a `_target_` is built by calling that target with the node's own fields and `kwargs`.
A user's own node is typed by the base class, so it has `_target_`, `kwargs` and the base's fields.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from crate.config.schema.augment import Augment, FlipCrop, NoAugment, RandAugment, TrivialAugment
from crate.config.schema.data import (
    CIFAR10,
    CIFAR100,
    Data,
    Digits,
    Downloadable,
    FashionMNIST,
    Flowers,
    Folder,
    Pets,
    evaluation_px,
)
from crate.config.schema.field import NO_NEUTRAL, ON_OFF, Target, option, pair
from crate.config.schema.model import CRATE, Model, Transformer, ViT
from crate.config.schema.optimizer import SGD, Adam, AdamW, Lion, Optimizer
from crate.config.schema.run import Config, Sweep, Train
from crate.config.schema.schedule import AuthorsSchedule, Cosine, Schedule
from crate.config.schema.tracker import TensorBoard, Tracker, Wandb

SCHEMAS: dict[str, tuple[type, ...]] = {
    "model": (CRATE, ViT),
    "optimizer": (Lion, Adam, AdamW, SGD),
    "data": (Digits, FashionMNIST, CIFAR10, CIFAR100, Flowers, Pets, Folder),
    "schedule": (Cosine, AuthorsSchedule),
    "augment": (NoAugment, FlipCrop, RandAugment, TrivialAugment),
    "tracker": (Wandb, TensorBoard),
}


def register() -> None:
    """Puts the root schema and the typed nodes into Hydra's store.

    A YAML file takes its type with `defaults: [/schema/model/CRATE@_here_, _self_]`.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, nodes in SCHEMAS.items():
        for node in nodes:
            store.store(group=f"schema/{group}", name=node.__name__, node=node)


def restore(values: dict[str, Any]) -> DictConfig:
    """Returns the tree of a stored configuration, each node typed by its `_target_`.

    Raises OmegaConfBaseException where a key or value does not fit this version's schema.
    """
    tree = OmegaConf.structured(Config)
    for group, nodes in SCHEMAS.items():
        kinds = {OmegaConf.structured(node)._target_: node for node in nodes}
        kind = kinds.get(values[group]["_target_"])
        if kind is not None:
            tree[group] = OmegaConf.structured(kind)
    return OmegaConf.merge(tree, values)
