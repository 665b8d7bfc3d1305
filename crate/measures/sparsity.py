"""Sparsity of tokens.

B images, N tokens (CLS included), d embed_dim.
"""

from __future__ import annotations

from torch import Tensor

from crate.measures.float64 import in_float64


def nonzero_fraction(tokens: Tensor) -> Tensor:
    """Return the share of entries that are not exactly zero, in float64: (B, N, d) -> (B,).

    |Z|_0 / (d N) of ISTA's output, as "White-Box Transformers via Sparse Rate Reduction"
    (arXiv 2306.01129) plots it.

    Raise ValueError for another number of dimensions.
    """
    if tokens.ndim != 3:
        raise ValueError(
            f"tokens: given {tokens.ndim} dimensions, allowed 3: images, tokens, embed_dim"
        )
    return in_float64((tokens != 0).sum(dim=(1, 2))) / (tokens.shape[1] * tokens.shape[2])  # (B,)
