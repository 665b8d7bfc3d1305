"""Learning-rate schedules: pure functions from the step to a factor of the peak rate."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def cosine(total_steps: int, steps_per_epoch: int, warmup_epochs: float) -> Schedule:
    """Return a linear warm-up and then half a cosine to zero, updated every step.

    The factor is 1/w at step 0 of w warm-up steps, 1 at step w - 1, and approaches 0 at the last.
    """
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return (1 + math.cos(math.pi * progress)) / 2

    return factor


def authors(total_steps: int, steps_per_epoch: int, warmup_epochs: int) -> Schedule:
    """Return the authors' factor min((e + 1)/w, (1 + cos(pi e/E))/2), set once per epoch e of E.

    Source: the training script of Ma-Lab-Berkeley/CRATE, where w is 20 for every E.
    """
    epochs = total_steps / steps_per_epoch

    def factor(step: int) -> float:
        epoch = step // steps_per_epoch
        return min((epoch + 1) / warmup_epochs, (1 + math.cos(math.pi * epoch / epochs)) / 2)

    return factor
