"""Coding rate of tokens against subspaces.

B images, K heads (subspaces), N tokens (CLS included), p head_dim.
Tokens are rows here and columns in the papers, so V_k (N, p) is the transpose of their U_k^T Z.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crate.measures.float64 import in_float64


def coding_rate(projections: Tensor, eps_squared: float = 0.01) -> Tensor:
    """Return the coding rate R^c of each image in nats, float64: (B, K, N, p) -> (B,).

    R^c = sum_k 1/2 logdet(I + p / (N eps^2) V_k^T V_k), the lossy coding rate R^c(Z; U_[K]) of
    "White-Box Transformers via Sparse Rate Reduction" (arXiv 2306.01129, section 2). Each token's
    projection on each subspace is L2-normalised, as in the authors' measurement; a zero token,
    which has no direction, contributes nothing. The paper writes the N x N Gram matrix; the p x p
    matrix has the same determinant and is smaller. The upper bound is K p / 2 ln(1 + 1/eps^2).

    The paper projects Z^{l+1/2} in its text and LN(Z^l) in its code: the caller chooses, and labels
    the result. `eps_squared` is the number 0.01 that the authors' code calls eps.

    Raise ValueError for another number of dimensions or eps_squared <= 0.
    """
    if projections.ndim != 4:
        raise ValueError(
            f"projections: given {projections.ndim} dimensions, allowed 4: "
            "images, heads, tokens, head_dim"
        )
    if not eps_squared > 0:
        raise ValueError(f"eps_squared: given {eps_squared}, allowed above 0")
    vectors = in_float64(projections)  # (B, K, N, p)
    norms = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)  # (B, K, N, 1)
    vectors = vectors / norms.clamp_min(torch.finfo(torch.float64).tiny)  # (B, K, N, p)
    num_tokens, head_dim = vectors.shape[-2:]
    gram = vectors.mT @ vectors  # (B, K, p, p)
    identity = torch.eye(head_dim, dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(identity + head_dim / (num_tokens * eps_squared) * gram)
    # logdet(L L^T) = 2 sum log diag L, which cancels the 1/2.
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=(1, 2))  # (B,)
