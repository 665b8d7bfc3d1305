"""The two numbers of a proximal gradient step, as tensors beside the exact values.

Annotations are not postponed here: TorchScript reads those of a class as types.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn


class ProximalStep(nn.Module):
    """Base of the modules that take a step of size eta on an objective with lambda |z|_1.

    `step_size` is eta, `sparsity` is lambda; both may be set at any time. They are no weights: the
    configuration gives them, and no checkpoint holds them. The formula reads them as the tensors
    `_eta` and `_threshold` (eta lambda), so that code compiled for one value serves every other.
    """

    _eta: Tensor
    _threshold: Tensor

    def __init__(self, step_size: float, sparsity: float) -> None:
        super().__init__()
        self.register_buffer("_eta", torch.empty(()), persistent=False)
        self.register_buffer("_threshold", torch.empty(()), persistent=False)
        self._set(step_size, sparsity)

    @property
    def step_size(self) -> float:
        """Eta."""
        return self._step_size

    @step_size.setter
    def step_size(self, value: float) -> None:
        self._set(value, self._sparsity)

    @property
    def sparsity(self) -> float:
        """Lambda."""
        return self._sparsity

    @sparsity.setter
    def sparsity(self, value: float) -> None:
        self._set(self._step_size, value)

    def _set(self, step_size: float, sparsity: float) -> None:
        self._step_size, self._sparsity = float(step_size), float(sparsity)
        self._eta.fill_(self._step_size)
        self._threshold.fill_(self._step_size * self._sparsity)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast as torch does, then fill the tensors again, as exact as the new dtype."""
        super()._apply(fn, recurse)
        self._set(self._step_size, self._sparsity)
        return self

    def extra_repr(self) -> str:
        return f"step_size={self._step_size}, sparsity={self._sparsity}"
