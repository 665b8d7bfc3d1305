"""Trackers: where metrics go in addition to metrics.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from crate.config.schema.field import Target, option


@dataclass
class Tracker(Target):
    """Base of all trackers; metrics.jsonl is always written as well.

    The user's own is called as `_target_(**kwargs)` and has the methods of
    `crate.tracking.Tracker`.
    """

    _target_: str = option(MISSING, "dotted name of the tracker's class", identity=False)
    kwargs: dict[str, Any] = option({}, "its arguments", identity=False)


@dataclass
class Wandb(Tracker):
    """Weights & Biases, logged by a separate process; see `crate.tracking.wandb`."""

    _target_: str = option("crate.tracking.wandb.Wandb", "the tracker's class", identity=False)
    project: str = option("crate", "wandb's project", identity=False)
    entity: str | None = option(None, "wandb's user or team; null: its default", identity=False)
    mode: str = option(
        "auto",
        "auto: online if there is a key and the server answers, otherwise offline",
        identity=False,
        choices=("auto", "online", "offline"),
    )
    group: str | None = option(None, "name of a group of runs", identity=False)
    job_type: str | None = option(None, "kind of run; null: the task", identity=False)
    tags: list[str] = option([], "tags of the run", identity=False)
    name: str | None = option(None, "the run's name; null: its folder's label", identity=False)
    swept: dict[str, Any] = option({}, "values that a sweep varies, by key", identity=False)
    published: dict[str, Any] = option({}, "published results for the point", identity=False)
    queue_size: int = option(
        10_000,
        "rows that may wait for wandb; more are dropped",
        identity=False,
        at_least=1,
    )
    finish_timeout_s: float = option(
        60.0, "longest time that the end of the run waits for wandb", identity=False, above=0
    )


@dataclass
class TensorBoard(Tracker):
    """TensorBoard's event files."""

    _target_: str = option(
        "crate.tracking.tensorboard.TensorBoard", "the tracker's class", identity=False
    )
