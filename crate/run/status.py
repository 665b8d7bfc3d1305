"""The record in `status.json`: the progress of a run, how it ended, and who is to run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from crate.config.schema.objective import DEFAULT, Objective
from crate.run.claim import Claim
from crate.run.records import Record

_RENAMED = {"last_top1": "last", "best_top1": "best"}  # since version 1


@dataclass(kw_only=True)
class Cancellation(Record):
    """The mark that a run is cancelled: when, in seconds since 1970. An empty file counts too."""

    version: int = 1
    time: float


@dataclass(kw_only=True)
class Measured(Record):
    """How long an epoch took, for the estimates of later plans; `shape` identifies the work."""

    shape: str
    device_s_per_epoch: float
    hardware: str
    in_slurm: bool
    launcher: str | None = None

    @property
    def launched_by(self) -> str:
        """The name of the launcher that ran it; `slurm` inside a Slurm job, `local` without one."""
        return "slurm" if self.in_slurm else self.launcher or "local"


@dataclass(kw_only=True)
class Status(Record):
    """The status of one run; times are in seconds since 1970 by the clock of its machine.

    `last` and `best` are values of the metric `objective`, of which `direction` is the best.
    """

    version: int = 2
    state: Literal["queued", "running", "stopped", "failed", "finished"] | None = None
    reason: str | None = None
    traceback: str | None = None
    claim: Claim | None = None
    attempts: int = 0
    heartbeat: float | None = None
    sigterm_at: float | None = None
    step: int = 0
    total_steps: int | None = None
    step_at: float | None = None
    images_per_s: float | None = None
    remaining_s: float | None = None
    objective: str = DEFAULT
    direction: Literal["max", "min"] = "max"
    last: float | None = None
    best: float | None = None
    best_step: int = 0
    best_chosen_on: str = "the evaluation split"
    best_is_lost: bool = False
    test: dict[str, float] = field(default_factory=dict)
    time_s: float | None = None
    size_mb: float | None = None
    measured: Measured | None = None

    @classmethod
    def from_json(cls, values: Any, at: str = "") -> Self:
        """Return the status of JSON values; version 1 had other names for two of its fields.

        The names of version 1 count in any file: a point that runs in a snapshot of an earlier
        version keeps the number and the fields of the file, and adds its results by those names.
        """
        if isinstance(values, dict):
            renamed = {new: values[old] for old, new in _RENAMED.items() if old in values}
            kept = {key: value for key, value in values.items() if key not in _RENAMED}
            values = kept | renamed
            if values.get("version", 1) == 1:
                values["version"] = 2
        return super().from_json(values, at)

    def check(self) -> None:
        """Raise ValueError if a finished run has no result."""
        if self.state == "finished" and None in (self.last, self.best):
            raise ValueError("the run is finished, and last or best is missing")

    @property
    def compared_by(self) -> Objective:
        """The metric of `last` and `best`."""
        return Objective(self.objective, self.direction)

    @property
    def progress(self) -> float:
        """The part of all steps that is done, between 0 and 1."""
        return self.step / self.total_steps if self.total_steps else 0.0
