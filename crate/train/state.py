"""The state of a training run: all that its checkpoint holds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from crate.config.schema import Objective
from crate.errors import UserError, shorten
from crate.ranks import Ranks
from crate.train.checkpoints.content import Content
from crate.train.generators import generator_states, set_generator_states
from crate.train.learner import Learner
from crate.train.steps import Steps

SAVED = (
    "step",
    "evaluated_step",
    "tested_step",
    "best_step",
    "logged_step",
    "best",
    "last",
    "trained",
    "test",
)


@dataclass
class TrainState:
    """Model, optimizer, counters and generators; a restored state is the same state.

    `step` counts finished updates. `loss_sum` adds this rank's part of the losses since
    `logged_step` on the device, so that they are read back only when logged. `best` and `last` are
    values of the objective's metric, and `trained` are the newest metrics of training.
    `best_is_lost` says at the end that best.pt does not hold the best weights.
    """

    learner: Learner
    steps: Steps
    ranks: Ranks
    device: torch.device
    objective: Objective = field(default_factory=Objective)
    step: int = 0
    evaluated_step: int = 0
    tested_step: int = 0
    logged_step: int = 0
    best: float = field(init=False)
    best_step: int = 0
    last: float = math.nan
    trained: dict[str, float] = field(default_factory=dict)
    elapsed_s: float = 0.0
    is_done: bool = False
    best_is_lost: bool = False
    test: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.best = self.objective.worst
        self.loss_sum: Tensor = torch.zeros((), device=self.device)

    def time_s(self) -> float:
        """Return the seconds of training so far, over all resumes."""
        return self.elapsed_s + time.monotonic() - self._since

    def note(self, metrics: dict[str, float]) -> None:
        """Remember an evaluation of this step, and whether its weights are the best so far.

        Raise UserError if the objective's metric is not logged.
        """
        logged, metric = self.trained | metrics, self.objective.metric
        self.evaluated_step = self.step
        if metric in logged:
            self.last = logged[metric]
            if self.objective.is_better(self.last, self.best):
                self.best, self.best_step = self.last, self.step
            return
        was_measured = any(name.startswith(f"{self.objective.split}/") for name in logged)
        if was_measured or (self.step == self.steps.total and math.isnan(self.last)):
            raise UserError(
                f"objective.metric={metric} is not logged",
                shorten(sorted(name for name in logged if "/" in name), 20),
                "objective.metric=val/top1",
            )

    def is_finite(self) -> bool:
        """Return whether all weights and the losses since the last log line are finite."""
        values = [self.loss_sum, *self.learner.model.parameters()]
        broken = not all(bool(torch.isfinite(value).all()) for value in values)
        return not self.ranks.maximum(broken)[0]

    def state_dict(self) -> Content:
        """Return tensors and plain values. All ranks must call this: each contributes its part."""
        own = {"loss_sum": self.loss_sum.cpu(), "generators": generator_states()}
        return {
            **self.learner.state_dict(),
            "ranks": self.ranks.gather(own),
            "time_s": self.time_s(),
            **{name: getattr(self, name) for name in SAVED},
        }

    def load_state_dict(self, values: Content) -> None:
        """Restore the state that `state_dict` returned.

        If another number of ranks saved it, rank 0 takes the sum of all losses, and each rank takes
        the generators of the rank of the same number, if there was one. Only random numbers that a
        user's own model draws depend on these generators.
        """
        self.learner.load_state_dict(values)
        values = {"best": values.get("best_top1"), "last": values.get("last_top1")} | values
        for name in SAVED:
            setattr(self, name, values.get(name, {}) if name == "trained" else values[name])
        self.elapsed_s, self._since = values["time_s"], time.monotonic()
        ranks, saved = self.ranks, values["ranks"]
        if len(saved) == ranks.size:
            self.loss_sum.copy_(saved[ranks.rank]["loss_sum"])
        elif ranks.is_first:
            self.loss_sum.copy_(sum(own["loss_sum"] for own in saved))
        if ranks.rank < len(saved):
            set_generator_states(saved[ranks.rank]["generators"])
