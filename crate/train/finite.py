"""A run whose loss or weights stop being finite ends, and its last good checkpoint is kept."""

from __future__ import annotations

import math

from crate.errors import UserError
from crate.train.state import TrainState


class NonFinite(UserError):
    """The loss or a weight is not a finite number any more."""

    def __init__(self, problem: str, state: TrainState) -> None:
        steps = f"between steps {state.logged_step + 1} and {state.step}"
        super().__init__(
            f"{problem} {steps}; the last good checkpoint is kept",
            "a smaller learning rate, clipping, or more precise arithmetic",
            "optimizer.lr=..., train.clip_norm=1 or precision=fp32",
        )


def mean_loss(state: TrainState) -> float:
    """Return the mean loss over all ranks since the last log line, and begin the next mean.

    Raise NonFinite if it is not finite.
    """
    mean = state.ranks.sum(state.loss_sum).item() / (state.step - state.logged_step)
    if not math.isfinite(mean):
        raise NonFinite(f"the loss became {mean}", state)
    state.loss_sum.zero_()
    state.logged_step = state.step
    return mean


def require_finite(state: TrainState) -> None:
    """Raise NonFinite if a loss or a weight is not finite, so that no checkpoint stores it."""
    if not state.is_finite():
        raise NonFinite("the loss or a weight stopped being finite", state)
