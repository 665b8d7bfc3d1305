"""The batches that an evaluator iterates over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crate.data.images.split import Split
from crate.data.loading.loader import eval_batches
from crate.data.loading.prefetch import on_device
from crate.data.transforms import Transform
from crate.errors import UserError, shorten
from crate.ranks import Ranks
from crate.train.hardware.device import SINGLE, autocast


class Interrupted(Exception):
    """A signal came before an evaluation was complete; every rank raises it."""


@dataclass(frozen=True)
class Images:
    """The splits that can be evaluated, and how their images reach the model."""

    splits: Mapping[str, Split]
    transform: Transform
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


@dataclass
class _Meeting:
    """Where a rank is in the batches of one evaluation, and where all ranks meet."""

    ranks: Ranks
    num_open: int = 0  # splits that this rank iterates over
    has_failed: bool = False  # on all ranks

    def close(self, was_interrupted: bool, error: UserError | None) -> None:
        """Meet the other ranks at the end of a split; raise on all what any of them met."""
        self.num_open -= 1
        self.raise_any(error)
        if self.ranks.maximum(was_interrupted)[0]:
            raise Interrupted

    def raise_any(self, error: UserError | None) -> None:
        try:
            self.ranks.raise_any(error)
        except UserError:
            self.has_failed = True
            raise


class Batches:
    """The batches of one split: images (B, C, H, W) float32, normalized, and labels (B,).

    They lie on the training device. Over the ranks each image comes once, in order. Every rank has
    to iterate to the end, where the ranks meet: an error in the data of one of them, or a signal,
    ends the evaluation on all.
    """

    def __init__(
        self,
        images: Images,
        split: str,
        interrupted: Callable[[], bool] = lambda: False,
        meeting: _Meeting | None = None,
    ) -> None:
        self._images, self._split, self._interrupted = images, split, interrupted
        self._meeting = meeting or _Meeting(images.ranks)

    def of(self, split: str) -> Batches:
        """Return the batches of another split, prepared in the same way.

        Raise UserError if the data has no such split.
        """
        splits = self._images.splits
        if split not in splits:
            given = f"an evaluator asks for the split {split}, which this data does not have"
            raise UserError(given, shorten(splits))
        return Batches(self._images, split, self._interrupted, self._meeting)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        was_interrupted, error = False, None
        self._meeting.num_open += 1
        try:
            for images, labels in self._images.share(self._split):
                if self._interrupted():
                    was_interrupted = True
                    break
                yield self._images.normalize(images), labels
        except UserError as raised:
            error = raised
        self._meeting.close(was_interrupted, error)

    def finish(self, error: UserError | None) -> None:
        """Meet the other ranks at the end of an evaluator; raise on all an `error` of any.

        One that all ranks have raised already is raised again here alone.
        """
        if error is not None and self._meeting.has_failed:
            raise error
        while error is not None and self._meeting.num_open:  # others are in the batches still
            self._meeting.close(False, error)
        self._meeting.raise_any(error)
