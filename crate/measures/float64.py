"""The precision of every measure."""

from __future__ import annotations

import torch
from torch import Tensor


def in_float64(values: Tensor) -> Tensor:
    """The same values in float64, on the CPU where their device (Apple's MPS) has no float64."""
    if values.device.type == "mps":
        values = values.cpu()
    return values.to(torch.float64)
