"""The typed tree of a configuration: the only place of defaults.

Every field says what it is (`help`), whether it can change a run's result and so belongs to the
run's identity (`identity`), the value at which it counts as absent from that identity
(`neutral`), and what it may be. YAML files under `conf/` hold only what differs from here.

A node with a `_target_` is built by calling that target with the node's fields and `kwargs`. A
user's own node has another `_target_` than its schema names (`Target.is_own_target`). Its schema is
the group's base class, or one of those below, whose fields the target then takes too. Keys that the
schema lacks are further arguments: `crate.config.check` moves them into `kwargs`.
"""

from __future__ import annotations

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
from crate.config.schema.groups import BASES, SCHEMAS, register, targets
from crate.config.schema.model import CRATE, Model, Transformer, ViT
from crate.config.schema.objective import Objective
from crate.config.schema.optimizer import SGD, Adam, AdamW, Lion, Optimizer
from crate.config.schema.run import Config, Sweep, Train
from crate.config.schema.schedule import AuthorsSchedule, Cosine, Schedule
from crate.config.schema.stored import dump, restore
from crate.config.schema.tracker import TensorBoard, Tracker, Wandb
