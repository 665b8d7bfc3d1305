"""Multi-head subspace self-attention: the compression half of a layer.

B images, N tokens, d embed_dim, K heads (subspaces), p head_dim.
Tokens are rows here and columns in the papers: their U_k^T Z is `tokens @ U_k` here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import use_fused_attn
from torch import Tensor, fx, nn

from crate.model.trace import LayerTrace

MOST_TOKENS_EXPLICIT = 512


class AttentionMap(nn.Module):
    """softmax(w w^T / sqrt(p)) of projections w; each row is a distribution.

    It is a module without weights so that timm's tools find the map under their own names, as the
    node `attn.softmax` or the module `attn_drop`.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.attn_drop = nn.Identity()

    def forward(self, projection: Tensor) -> Tensor:
        """Return the attention map: (B, K, N, p) -> (B, K, N, N)."""
        scaled = projection * self.head_dim**-0.5  # N p products; scaling the scores takes N N
        scores = scaled @ projection.transpose(-2, -1)  # (B, K, N, N)
        return self.attn_drop(scores.softmax(dim=-1))


class MSSA(nn.Module):
    """Compress tokens against K learned subspaces ([P] eq. 11-12).

    Head k projects the tokens on its subspace once, w = tokens U_k. This projection is query, key
    and value: softmax(w w^T / sqrt(p)) w.

    It departs from [P] in two ways, as [C] does, whose results were published:
    - the scores are divided by sqrt(p), which eq. 11 does not do;
    - the output matrix is free and has a bias; eq. 12 ties it to [U_1 .. U_K]. [P] appendix B.1
      frees it because it trains better (70.8 against 63.3 % on ImageNet-1K).

    `fused_attn` is timm's switch: False computes every map explicitly, for tools that read it.
    `timm.layers.set_fused_attn(False)` sets it for models that are built later.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.fused_attn = use_fused_attn()
        self.subspaces = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.attn: nn.Module = AttentionMap(head_dim)
        # [C] leaves the matrix out for one head as wide as the stream: there is nothing to merge.
        merges = num_heads > 1 or head_dim != dim
        self.output = nn.Linear(num_heads * head_dim, dim) if merges else nn.Identity()

    def project(self, tokens: Tensor) -> Tensor:
        """Return U_k^T z for every head k and token z: (B, N, d) -> (B, K, N, p)."""
        projection = self.subspaces(tokens)  # (B, N, K*p)
        projection = projection.unflatten(-1, (self.num_heads, self.head_dim))  # (B, N, K, p)
        return projection.transpose(1, 2)  # (B, K, N, p)

    def forward(self, tokens: Tensor, record: LayerTrace | None = None) -> Tensor:
        """Return the update of the stream: (B, N, d) -> (B, N, d).

        Fill `record.projection`, and `record.attention` if `record.with_attention`.
        """
        w = self.project(tokens)  # (B, K, N, p)
        wants_map = record is not None and record.with_attention
        is_explicit = wants_map or not self.fused_attn
        if not torch.jit.is_scripting():  # TorchScript skips this block
            is_explicit = is_explicit or _fused_is_slower(w)
        if is_explicit:
            attention = self.attn(w)  # (B, K, N, N)
            heads = attention @ w  # (B, K, N, p)
            if record is not None and wants_map:
                record.attention = attention
        else:
            heads = F.scaled_dot_product_attention(w, w, w)  # (B, K, N, p)
        if record is not None:
            record.projection = w
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, N, K*p) -> (B, N, d)


def _fused_is_slower(projection: Tensor) -> bool:
    """Return whether explicit attention is faster: on a CPU in bf16, up to some hundred tokens.

    The backward pass of the fused kernel is slow there; with more tokens the memory of the maps
    costs more. Time of MSSA's forward and backward pass, fused over explicit
    (docs/results/speed.md): 1.1 at 65 and 197 tokens, 1.2 at 401, 0.98 at 785, 0.82 at 2305; in
    fp32 always below 1.
    """
    if isinstance(projection, fx.Proxy):  # torch.fx traces the model without a device
        return False
    is_short = projection.shape[-2] <= MOST_TOKENS_EXPLICIT
    return is_short and projection.device.type == "cpu" and projection.dtype == torch.bfloat16
