"""The groups of the tree that have options, with the classes that type their nodes."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from crate.config.schema.augment import Augment, FlipCrop, NoAugment, RandAugment, TrivialAugment
from crate.config.schema.data import (
    CIFAR10,
    CIFAR100,
    Data,
    Digits,
    Downloaded,
    FashionMNIST,
    Flowers,
    Folder,
    Pets,
)
from crate.config.schema.field import Target
from crate.config.schema.model import CRATE, Model, ViT
from crate.config.schema.optimizer import SGD, Adam, AdamW, Lion, Optimizer
from crate.config.schema.run import Config
from crate.config.schema.schedule import AuthorsSchedule, Cosine, Schedule
from crate.config.schema.tracker import TensorBoard, Tracker, Wandb

SCHEMAS: dict[str, tuple[type[Target], ...]] = {  # each names the target that it builds
    "model": (CRATE, ViT),
    "optimizer": (Lion, Adam, AdamW, SGD),
    "data": (Digits, FashionMNIST, CIFAR10, CIFAR100, Flowers, Pets, Folder, Downloaded),
    "schedule": (Cosine, AuthorsSchedule),
    "augment": (NoAugment, FlipCrop, RandAugment, TrivialAugment),
    "tracker": (Wandb, TensorBoard),
}
BASES: dict[str, type[Target]] = {  # what every node of a group has; they name no target
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
    store.store(name="schema", node=root())
    for group, kinds in SCHEMAS.items():
        for kind in kinds:
            node = OmegaConf.structured(kind, flags={"struct": False})
            store.store(group=f"schema/{group}", name=kind.__name__, node=node)


def root() -> DictConfig:
    """Return the tree of the root schema, whose nodes admit keys beside those of their schemas."""
    tree: DictConfig = OmegaConf.structured(Config)
    for group in BASES:
        OmegaConf.set_struct(tree[group], False)
    return tree
