"""Memory for a batch, where the main process has it without another copy."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import get_worker_info


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Returns an uninitialised tensor on the CPU; in a loader's worker one that is shared."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    # as torch's default_collate does, for want of a public way that does not copy
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape)
