"""Evaluators: which measurement, of which split, how often, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from crate.config.schema import Config
from crate.ranks import Ranks
from crate.train.evaluation.accuracy import accuracy
from crate.train.evaluation.batches import Batches, Images
from crate.train.evaluation.own import OwnFunction
from crate.train.hardware.compile import as_compiled
from crate.train.hardware.device import autocast


class Measure(Protocol):
    """What an evaluator calls; every rank has to return the same numbers."""

    def __call__(self, model: nn.Module, batches: Batches, ranks: Ranks) -> dict[str, float]:
        """Return named numbers of `model`, which is in evaluation mode."""


@dataclass(frozen=True)
class Evaluator:
    """A measurement of a split; its results are logged as `<name>/<metric>`."""

    name: str
    measure: Measure
    split: str
    every_epochs: int = 1

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Return whether it runs at the end of `epoch`, counted from 1, of `epochs`."""
        return epoch % self.every_epochs == 0 or epoch == epochs


VALIDATION = Evaluator("val", accuracy, "val")
TEST = Evaluator("test", accuracy, "test")  # runs once, after the last epoch


def evaluators(config: Config) -> list[Evaluator]:
    """Return what is measured during training: the validation, then the user's own evaluators.

    Raise UserError if the target of one cannot be imported.
    """
    own = [
        Evaluator(name, OwnFunction(name, node, config.seed), node.split, node.every_epochs)
        for name, node in config.evaluators.items()
    ]
    return [VALIDATION, *own]


def evaluate(
    evaluator: Evaluator,
    models: Mapping[str, nn.Module],
    images: Images,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Return `<name>/<prefix><metric>` of each model; `models` maps a prefix to a model.

    The prefix is "" for the weights as they are and "ema_" for their running mean. Raise
    Interrupted on all ranks if `interrupted` returns true on one of them between two batches, and
    UserError for an error in the data or in a user's own evaluator.
    """
    metrics: dict[str, float] = {}
    for prefix, model in models.items():
        batches = Batches(images, evaluator.split, interrupted)
        was_training = model.training
        model.eval()
        try:
            with as_compiled(False), autocast(images.device, images.precision, cache=False):
                values = evaluator.measure(model, batches, images.ranks)
        finally:
            model.train(was_training)
        metrics |= {f"{evaluator.name}/{prefix}{name}": value for name, value in values.items()}
    return metrics
