"""Schedules of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import II

from crate.config.schema.field import Target, option


@dataclass
class Schedule(Target):
    """Base of all schedules; they map the step to a factor of the learning rate.

    The user's own is called as `_target_(total_steps=..., steps_per_epoch=..., **kwargs)` and
    returns that function.
    """


@dataclass
class Cosine(Schedule):
    """Linear warm-up, then cosine to zero, updated every step."""

    _target_: str = option("crate.train.schedule.cosine", "the schedule's function")
    warmup_epochs: float = option(
        II("data.suggested.warmup_epochs"), "epochs of linear warm-up", at_least=0
    )


@dataclass
class AuthorsSchedule(Schedule):
    """The authors' schedule, updated once per epoch."""

    _target_: str = option("crate.train.schedule.authors", "the schedule's function")
    warmup_epochs: int = option(20, "epochs of warm-up in the authors' formula", at_least=1)
