"""Batches on the training device, there before they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from crate.data.images.device_crop import Crops
from crate.data.loading.collate import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (images (B, C, H, W), labels (B,)) on `device`; crops are resized there.

    A GPU moves and resizes the next batch in a stream of its own while it computes with this one.
    """
    if device.type != "cuda":
        for images, labels in batches:
            yield _moved(images, device), labels.to(device)
        return
    for images, labels, whole in one_ahead(_on_their_way(batches, device)):
        computing = torch.cuda.current_stream(device)
        computing.wait_event(whole)
        for tensor in (images, labels):
            tensor.record_stream(computing)  # its memory is not to be reused before that is done
        yield images, labels


def _on_their_way(
    batches: Iterable[Batch], device: torch.device
) -> Iterator[tuple[Tensor, Tensor, torch.cuda.Event]]:
    """Yields batches that a stream is at work on, and the event of each that ends this."""
    stream = torch.cuda.Stream(device)
    for images, labels in batches:
        with torch.cuda.stream(stream):
            moved = _moved(images, device), labels.to(device, non_blocking=True)
        yield *moved, stream.record_event()


def _moved(images: Any, device: torch.device) -> Tensor:
    if isinstance(images, Crops):
        return images.resized(device)
    return images.to(device, non_blocking=True)


def one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """Yields items, each once the next was fetched; what the next one raises is raised when due."""
    iterator = iter(items)
    coming = _next(iterator)
    while not isinstance(coming, Exception):
        item, coming = coming, _next(iterator)
        yield item
    if not isinstance(coming, StopIteration):
        raise coming


def _next(iterator: Iterator[Any]) -> Any:
    try:
        return next(iterator)
    except Exception as error:  # StopIteration too
        return error
