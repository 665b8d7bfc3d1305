"""One step of non-negative ISTA: the sparsification half of a layer.

B images, N tokens, d embed_dim.
Tokens are rows here and columns in the papers: their D Z is `tokens @ D.T` here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction, FunctionCtx

from crate.model.proximal_step import ProximalStep


class _CompiledReLU(torch.autograd.Function):
    """ReLU whose backward pass reads its output, which the next layer stores anyway.

    For torch's ReLU the compiler stores a mask of bits; on a CPU that mask costs more than the rest
    of the backward pass.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, code: Tensor) -> Tensor:
        code = code.relu()
        ctx.save_for_backward(code)
        return code

    @staticmethod
    def backward(ctx: BackwardCFunction, gradient: Tensor) -> Tensor:
        (code,) = ctx.saved_tensors
        return gradient * code.sign()


class ISTA(ProximalStep):
    """Move tokens towards a sparse, non-negative code in a learned dictionary D ([P] eq. 17).

    relu(x + eta D^T (x - D x) - eta lambda), with eta the `step_size` and lambda the `sparsity`.
    One proximal gradient step from z = x on lambda |z|_1 + 1/2 |x - D z|^2 subject to z >= 0.
    """

    def __init__(self, dim: int, step_size: float = 0.1, sparsity: float = 0.1) -> None:
        super().__init__(step_size, sparsity)
        self.dictionary = nn.Parameter(torch.empty(dim, dim))
        nn.init.kaiming_uniform_(self.dictionary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the sparse code of each token: (B, N, d) -> (B, N, d)."""
        # D^T x - D^T D x, as [P] writes it, costs three products; factored it costs two.
        residual = tokens - F.linear(tokens, self.dictionary)  # x - D x
        descent = residual @ self.dictionary  # D^T (x - D x)
        code = torch.addcmul(tokens, descent, self._eta)  # x + eta D^T (x - D x)
        code = code - self._threshold
        if not torch.jit.is_scripting() and torch.compiler.is_compiling():
            return _CompiledReLU.apply(code)
        return code.relu_()
