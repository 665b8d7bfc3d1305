"""The batches that an evaluator iterates over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from crate.data.loading.loader import eval_batches
from crate.data.loading.prefetch import on_device
from crate.errors import UserError, shorten
from crate.ranks import Ranks
from crate.train.device import SINGLE, autocast


class Interrupted(Exception):
    """A signal came before an evaluation was complete; every rank raises it."""


@dataclass(frozen=True)
class Images:
    """The splits that can be evaluated, and how their images reach the model."""

    splits: Mapping[str, Any]
    transform: Callable[..., Any]
    normalize: nn.Module
    workers: int
    device: torch.device
    precision: str
    ranks: Ranks = SINGLE

    def share(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this rank's batches of a split, as they leave the loader, on the device."""
        batches = eval_batches(
            self.splits[split],
            self.transform,
            workers=self.workers,
            rank=self.ranks.rank,
            size=self.ranks.size,
        )
        iterator = on_device(batches, self.device)
        while True:
            with autocast(self.device, self.precision, enabled=False):  # the evaluator's is on
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch


class Batches:
    """The batches of one split: images (B, C, H, W) float32, normalized, and labels (B,).

    They lie on the training device. Over the ranks each image comes once, in order. Every rank has
    to iterate to the end, where the ranks meet: an error in the data of one of them, or a signal,
    ends the evaluation on all.
    """

    def __init__(
        self, images: Images, split: str, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self._images, self._split, self._interrupted = images, split, interrupted
        self._unfinished: list[str] = []  # splits that this rank is iterating over

    def of(self, split: str) -> Batches:
        """Return the batches of another split, prepared in the same way.

        Raise UserError if the data has no such split.
        """
        splits = self._images.splits
        if split not in splits:
            given = f"an evaluator asks for the split {split}, which this data does not have"
            raise UserError(given, shorten(splits))
        other = Batches(self._images, split, self._interrupted)
        other._unfinished = self._unfinished
        return other

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        was_interrupted, error = False, None
        self._unfinished.append(self._split)
        try:
            for images, labels in self._images.share(self._split):
                if self._interrupted():
                    was_interrupted = True
                    break
                yield self._images.normalize(images), labels
        except UserError as raised:
            error = raised
        self._meet(was_interrupted, error)

    def fail(self, error: UserError) -> None:
        """Raise `error` on all ranks, wherever the others are in these batches."""
        while self._unfinished:
            self._meet(False, error)
        self._images.ranks.raise_any(error)

    def _meet(self, was_interrupted: bool, error: UserError | None) -> None:
        """Raise on all ranks what any of them met, in place of the end of the batches."""
        self._unfinished.pop()
        self._images.ranks.raise_any(error)
        if self._images.ranks.maximum(was_interrupted)[0]:
            raise Interrupted
