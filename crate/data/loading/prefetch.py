"""Batches on the training device, there before they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from crate.data.images.device_crop import Crops
from crate.data.loading.collate import Batch
from crate.errors import UserError

T = TypeVar("T")


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images (B, C, H, W), labels (B,)) on `device`; crops are resized there.

    A GPU moves and resizes the next batch in a separate stream while it computes with this one.
    """
    if device.type != "cuda":
        for images, labels in batches:
            yield _moved(images, device), labels.to(device)
        return
    for images, labels, is_complete in one_ahead(_started(batches, device)):
        computing = torch.cuda.current_stream(device)
        computing.wait_event(is_complete)
        for tensor in (images, labels):
            tensor.record_stream(computing)  # so that its memory is not reused before that is done
        yield images, labels


def _started(
    batches: Iterable[Batch], device: torch.device
) -> Iterator[tuple[Tensor, Tensor, torch.cuda.Event]]:
    """Yield batches that a stream works on, and the event that completes each."""
    stream = torch.cuda.Stream(device)
    for images, labels in batches:
        with torch.cuda.stream(stream):
            moved = _moved(images, device), labels.to(device, non_blocking=True)
        yield *moved, stream.record_event()


def _moved(images: Any, device: torch.device) -> Tensor:
    if isinstance(images, Crops):
        return images.resized(device)
    return images.to(device, non_blocking=True)


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items, each after the next was fetched; raise the UserError of an item in its turn."""
    iterator, error = iter(items), None
    item = next(iterator, None)
    while item is not None:
        try:
            following = next(iterator, None)
        except UserError as raised:
            following, error = None, raised
        yield item
        item = following
    if error is not None:
        raise error
