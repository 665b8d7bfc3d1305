"""Memory for a batch that reaches the main process without another copy."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import get_worker_info


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an uninitialised CPU tensor, in shared memory if called in a loader's worker."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    # As torch's default_collate does: there is no public way without a copy.
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
