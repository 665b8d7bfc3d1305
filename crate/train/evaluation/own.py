"""A user's own evaluator: called with care, so that it neither disturbs nor confuses the run."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import SupportsFloat

import torch
from torch import nn

from crate.config.schema import Evaluator
from crate.config.target import arguments, locate
from crate.errors import UserError
from crate.ranks import Ranks
from crate.train.evaluation.batches import Batches, Interrupted
from crate.train.generators import seeded_generators

RETURNS = "a function that returns {name: number}"


class OwnFunction:
    """Calls the function of `evaluators.<name>` without gradients.

    Its random draws start from the seed of the run at every call, and do not move those of the
    training. The values of rank 0 count, if ranks return different ones.
    """

    def __init__(self, name: str, node: Evaluator, seed: int) -> None:
        self.key, self.target, self.seed = f"evaluators.{name}", node._target_, seed
        self.function, self.arguments = locate(node._target_), arguments(node)

    def __call__(self, model: nn.Module, batches: Batches, ranks: Ranks) -> dict[str, float]:
        """Return the function's numbers; raise on all ranks a UserError that names it."""
        values: dict[str, float] = {}
        failure: UserError | None = None
        try:
            with torch.no_grad(), seeded_generators(self.seed):
                values = self._numbers(self.function(model, batches, ranks, **self.arguments))
        except Interrupted:
            raise
        except UserError as error:
            failure = error
        except Exception as error:
            failure = self._failure(error)
        batches.finish(failure)
        return ranks.gather(values)[0]

    def _numbers(self, values: object) -> dict[str, float]:
        """Return what the function returned, or raise UserError if it is not named numbers."""
        if not isinstance(values, dict):
            given = f"{self.key}: {self.target} returned {type(values).__name__}"
            raise UserError(given, RETURNS)
        numbers: dict[str, float] = {}
        for name, value in values.items():
            number = _as_number(value)
            if not isinstance(name, str) or not name or number is None:
                given = f"{self.key}: {self.target} returned {name!r}: {type(value).__name__}"
                raise UserError(given, RETURNS)
            numbers[name] = number
        return numbers

    def _failure(self, error: Exception) -> UserError:
        """Return the UserError for an exception in the function, with the line of the user's."""
        reason = f"{type(error).__name__}: {error}"
        frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
        theirs = [frame for frame in frames if frame.filename == frames[0].filename]
        at = f" at {Path(theirs[-1].filename).name}:{theirs[-1].lineno}" if theirs else ""
        return UserError(
            f"{self.key}: {self.target} failed{at}: {reason}",
            "a function of (model, batches, ranks, **kwargs) that returns {name: number}",
            f"~{self.key}, to leave it out",
        )


def _as_number(value: object) -> float | None:
    """Return a number, or a tensor or array of one element, as a float; None for the rest."""
    if isinstance(value, (str, bytes)) or not isinstance(value, SupportsFloat):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # several elements
        return None
