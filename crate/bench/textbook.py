"""CRATE and its training step in the textbook's form, which is also that of the authors' script.

Attention maps are computed explicitly, ISTA takes three products, nothing is compiled or fused.
The bench compares ours with it.

B images, N tokens, d embed_dim, K heads, p head_dim.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crate.errors import UserError
from crate.model import CRATE, ISTA, MSSA
from crate.train.hardware.device import autocast, loss_scaler


class ThreeProducts(nn.Module):
    """ISTA multiplied out: relu(x + eta (D^T x - D^T D x) - eta lambda)."""

    def __init__(self, dictionary: nn.Parameter, step_size: float, sparsity: float) -> None:
        super().__init__()
        self.dictionary, self.step_size, self.sparsity = dictionary, step_size, sparsity

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the sparse code of each token: (B, N, d) -> (B, N, d)."""
        dx = F.linear(tokens, self.dictionary)
        d_t_dx = F.linear(dx, self.dictionary.t())
        d_t_x = F.linear(tokens, self.dictionary.t())
        update = self.step_size * (d_t_x - d_t_dx) - self.step_size * self.sparsity
        return F.relu(tokens + update)


class ScaledScores(nn.Module):
    """softmax(w w^T / sqrt(p)) of projections w, with the scores scaled."""

    def forward(self, projection: Tensor) -> Tensor:
        """Return the attention map: (B, K, N, p) -> (B, K, N, N)."""
        scores = projection @ projection.transpose(-1, -2)
        return (scores * projection.shape[-1] ** -0.5).softmax(dim=-1)


def textbook(model: CRATE) -> CRATE:
    """Return a copy of a model with the textbook's operations; its weights keep their names.

    Raise UserError if a layer has other operators than MSSA and ISTA.
    """
    model = copy.deepcopy(model)
    for layer in model.layers:
        mssa, ista = layer.mssa, layer.ista
        if not (isinstance(mssa, MSSA) and isinstance(ista, ISTA)):
            raise UserError("the textbook's form has MSSA and ISTA only", "mssa and ista")
        layer.ista = ThreeProducts(ista.dictionary, ista.step_size, ista.sparsity)
        mssa.fused_attn, mssa.attn = False, ScaledScores()
    return model


def training_step(
    model: nn.Module, precision: str, lr: float, weight_decay: float, label_smoothing: float
) -> Callable[[Tensor, Tensor], None]:
    """Return a function of (images (B, C, H, W) of floats, labels (B,)) that makes one step.

    The optimizer is torch's AdamW with its default implementation.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    scaler = loss_scaler(device, precision)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        with autocast(device, precision):
            loss = F.cross_entropy(model(images), labels, label_smoothing=label_smoothing)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step
