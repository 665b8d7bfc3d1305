"""The state of a training run: all that its checkpoint holds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim

from crate.train.checkpoint import generator_states, set_generator_states

COUNTERS = ("step", "evaluated_step", "best_step", "logged_step", "best_top1", "last_top1")


@dataclass
class TrainState:
    """Model, optimizer, counters and generators; a restored state is the same state.

    `step` counts finished updates. `loss_sum` adds the losses since `logged_step` on the device,
    so that they are read back only when logged.
    """

    model: nn.Module
    optimizer: optim.Optimizer
    loss_sum: Tensor
    step: int = 0
    evaluated_step: int = 0
    logged_step: int = 0
    best_top1: float = -math.inf
    best_step: int = 0
    last_top1: float = math.nan
    elapsed_s: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    def time_s(self) -> float:
        """Returns the seconds of training so far, over all resumes."""
        return self.elapsed_s + time.monotonic() - self._since

    def is_finite(self) -> bool:
        """Tells whether the losses since the last log line and every weight are finite."""
        values = [self.loss_sum, *(weight for weight in self.model.parameters())]
        return all(bool(torch.isfinite(value).all()) for value in values)

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_sum": self.loss_sum,
            "time_s": self.time_s(),
            "generators": generator_states(),
            **{name: getattr(self, name) for name in COUNTERS},
        }

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Takes over what `state_dict` returned."""
        self.model.load_state_dict(values["model"])
        self.optimizer.load_state_dict(values["optimizer"])
        self.loss_sum.copy_(values["loss_sum"])
        for name in COUNTERS:
            setattr(self, name, values[name])
        self.elapsed_s, self._since = values["time_s"], time.monotonic()
        set_generator_states(values["generators"])
