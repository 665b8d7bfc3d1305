"""Prepared images -> a batch.

Each image is copied into the batch as it comes, while it is still in the processor's caches. Its
memory is then free for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from crate.data.images.device_crop import Crops, Cut
from crate.data.images.memory import empty
from crate.errors import UserError

Batch = tuple[Any, Tensor]  # images (B, C, H, W), `Crops`, or what a user's transform makes; labels


def collate(items: Iterator[tuple[Any, int]], count: int) -> Batch:
    """Return `count` items as a batch; raise UserError for tensors that differ in shape or type.

    The memory format is kept: images in memory as (H, W, C), as they are decoded, are copied row by
    row. They become planes with the conversion to floats, on the training device.
    """
    first, label = next(items)
    items = chain([(first, label)], items)
    if isinstance(first, Cut):
        cuts, labels = zip(*items, strict=True)
        for cut in cuts:
            _require_like(first.pixels[:, 0, 0], cut.pixels[:, 0, 0])
        return Crops.of(cuts), torch.tensor(labels)
    if isinstance(first, Tensor):
        return _stacked(first, items, count)
    images, numbers = default_collate(list(items))
    return images, numbers


def _stacked(first: Tensor, items: Iterator[tuple[Tensor, int]], count: int) -> Batch:
    """Return `count` items as tensors (count, ...) and (count,)."""
    batch, labels = _empty_batch(first, count), []
    for target, (image, label) in zip(batch, items, strict=True):
        _require_like(first, image)
        target.copy_(image)
        labels.append(label)
    return batch, torch.tensor(labels)


def _empty_batch(image: Tensor, count: int) -> Tensor:
    """Return memory for `count` images like this one, in its memory format."""
    if image.ndim == 3 and image.stride(0) == 1:  # (H, W, C)
        return empty((count, *image.permute(1, 2, 0).shape), image.dtype).permute(0, 3, 1, 2)
    return empty((count, *image.shape), image.dtype)


def _require_like(first: Tensor, image: Tensor) -> None:
    if image.shape != first.shape or image.dtype != first.dtype:
        raise UserError(
            f"images of one batch differ: {tuple(first.shape)} {first.dtype} and "
            f"{tuple(image.shape)} {image.dtype}",
            "images of one size and type, once they are augmented",
        )
