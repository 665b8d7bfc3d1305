"""The papers' formulas in their own column form, an independent reference for the package.

Tokens are COLUMNS here: Z is (d, N), U_k (d, p), D (d, d), as in arXiv 2306.01129. This module
imports nothing from the package.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ista_columns(Z: Tensor, D: Tensor, eta: float, lam: float) -> Tensor:
    """Return eq. 17: ReLU(Z + eta D^T (Z - D Z) - eta lam 1), (d, N) -> (d, N)."""
    d, num_tokens = Z.shape
    ones = torch.ones(d, num_tokens, dtype=Z.dtype)
    return (Z + eta * D.T @ (Z - D @ Z) - eta * lam * ones).clamp(min=0)


def ista_three_products(x: Tensor, D: Tensor, eta: float, lam: float) -> Tensor:
    """Return eq. 17 multiplied out, eta (D^T x - D^T D x), with tokens as rows (B, N, d)."""
    Dx = torch.einsum("ij,bnj->bni", D, x)
    DtDx = torch.einsum("ji,bnj->bni", D, Dx)
    Dtx = torch.einsum("ji,bnj->bni", D, x)
    return (x + eta * (Dtx - DtDx) - eta * lam).clamp(min=0)


def softmax(scores: list[float]) -> list[float]:
    """Return exp(s) over its sum."""
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def attention_columns(V: Tensor) -> Tensor:
    """Return softmax(V^T V / sqrt(p)) over each column, for V = U_k^T Z: (p, N) -> (N, N)."""
    p, num_tokens = V.shape
    attention = torch.zeros(num_tokens, num_tokens, dtype=V.dtype)
    for query in range(num_tokens):
        scores = [float(V[:, key] @ V[:, query]) / math.sqrt(p) for key in range(num_tokens)]
        attention[:, query] = torch.tensor(softmax(scores), dtype=V.dtype)
    return attention


def mssa_columns(Z: Tensor, U: list[Tensor], W: Tensor, b: Tensor) -> Tensor:
    """Return eq. 11-12 with scale and free output: W [V_k softmax(V_k^T V_k / sqrt(p))]_k + b."""
    heads = []
    for U_k in U:
        V = U_k.T @ Z
        heads.append(V @ attention_columns(V))
    return W @ torch.cat(heads, dim=0) + b[:, None]


def coding_rate_columns(projections: list[Tensor], eps_squared: float) -> float:
    """Return sum_k 1/2 logdet(I_N + p/(N eps^2) V_k^T V_k), with V_k (p, N) of unit columns."""
    rate = 0.0
    for V in projections:
        p, num_tokens = V.shape
        V = V.clone()
        for n in range(num_tokens):
            length = math.sqrt(sum(float(value) ** 2 for value in V[:, n]))
            if length > 0:
                V[:, n] /= length
        gram = torch.eye(num_tokens, dtype=V.dtype) + p / (num_tokens * eps_squared) * V.T @ V
        rate += 0.5 * sum(math.log(float(value)) for value in torch.linalg.eigvalsh(gram))
    return rate
