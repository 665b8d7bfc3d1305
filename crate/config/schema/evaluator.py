"""A user's own evaluator: what it is and when it runs."""

from __future__ import annotations

from dataclasses import dataclass

from crate.config.schema.field import Target, option


@dataclass
class Evaluator(Target):
    """A function that measures the model: `evaluator(model, batches, ranks, **kwargs)`."""

    split: str = option("val", "images to measure on", argument=False, choices=("train", "val"))
    every_epochs: int = option(
        1,
        "epochs between two runs of it; it also runs after the last epoch",
        argument=False,
        at_least=1,
    )
