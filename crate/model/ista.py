"""One step of non-negative ISTA: the sparsification half of a layer.

B images, N tokens, d embed_dim.
Tokens are rows here and columns in the papers: their D Z is `tokens @ D.T` here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ISTA(nn.Module):
    """Move tokens towards a sparse, non-negative code in a learned dictionary D ([P] eq. 17).

    relu(x + eta D^T (x - D x) - eta lambda), with eta the `step_size` and lambda the `sparsity`.
    One proximal gradient step, started at x itself, on
    lambda |z|_1 + 1/2 |x - D z|^2 with z >= 0.

    `step_size` and `sparsity` are plain floats and no weights: the configuration rules them, and a
    checkpoint says nothing about them.
    """

    def __init__(self, dim: int, step_size: float = 0.1, sparsity: float = 0.1) -> None:
        super().__init__()
        self.step_size = float(step_size)
        self.sparsity = float(sparsity)
        self.dictionary = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.dictionary)

    def forward(self, tokens: Tensor) -> Tensor:
        """The sparse code of each token: (B, N, d) -> (B, N, d)."""
        # D^T x - D^T D x, as [P] writes it, costs three products; factored it costs two.
        residual = tokens - F.linear(tokens, self.dictionary)  # x - D x
        descent = residual @ self.dictionary  # D^T (x - D x)
        code = torch.add(tokens, descent, alpha=self.step_size)  # x + eta D^T (x - D x)
        return (code - self.step_size * self.sparsity).relu_()

    def extra_repr(self) -> str:
        return f"step_size={self.step_size}, sparsity={self.sparsity}"
