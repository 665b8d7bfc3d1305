"""The precision of every measure."""

from __future__ import annotations

import torch
from torch import Tensor


def in_float64(values: Tensor) -> Tensor:
    """Return values as float64, on the CPU if their device (Apple's MPS) has no float64."""
    if values.device.type == "mps":
        values = values.cpu()
    return values.to(torch.float64)
