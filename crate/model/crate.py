"""CRATE: a stem, then layers that compress (MSSA) and sparsify (ISTA), then a linear head.

B images, C in_chans, H x W pixels, N tokens (CLS first, then the patches), d embed_dim.
Tokens are rows here and columns in the papers.
"""

from __future__ import annotations

import torch
from timm.models import checkpoint
from timm.models._features import feature_take_indices
from torch import Tensor, fx, nn

from crate.model.layer import Layer
from crate.model.operators import NewCompression, NewSparsifier
from crate.model.patch_embedding import PatchEmbedding, Size
from crate.model.trace import Trace

POOLS = ("token", "avg")
Features = list[Tensor] | list[tuple[Tensor, Tensor]]


class CRATE(nn.Module):
    """The white-box transformer of [P], with the methods of a timm model.

    `img_size` and `patch_size` are in pixels, one number or (height, width).
    `head_dim` is embed_dim / num_heads if None.
    `global_pool` is "token" (CLS) or "avg" (mean of all tokens, CLS included).
    `step_size` is eta, `sparsity` is lambda.
    `num_classes=0` leaves the classifier out.
    `compression` and `sparsifier` are the operators of each layer: a name in COMPRESSIONS or
    SPARSIFIERS, the dotted name of a class, or a class; see `crate.model.operators`.

    Raise ValueError for arguments that make no model.
    """

    num_prefix_tokens = 1  # CLS; timm's name

    def __init__(
        self,
        img_size: Size = 224,
        patch_size: Size = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        head_dim: int | None = None,
        global_pool: str = "token",
        step_size: float = 0.1,
        sparsity: float = 0.1,
        compression: str | NewCompression = "mssa",
        sparsifier: str | NewSparsifier = "ista",
    ) -> None:
        super().__init__()
        _check_counts(in_chans=in_chans, embed_dim=embed_dim, depth=depth, num_heads=num_heads)
        _check_step(step_size, sparsity)
        head_dim = _head_dim(embed_dim, num_heads, head_dim)
        self.in_chans = in_chans
        self.embed_dim = self.num_features = self.head_hidden_size = embed_dim
        self.patch_embed = PatchEmbedding(img_size, patch_size, in_chans, embed_dim)
        num_tokens = self.num_prefix_tokens + self.patch_embed.num_patches
        # Unit variance as in [C]; timm's ViT draws with a standard deviation of 0.02.
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.randn(1, num_tokens, embed_dim))
        self.layers = nn.ModuleList(
            Layer(embed_dim, num_heads, head_dim, step_size, sparsity, compression, sparsifier)
            for _ in range(depth)
        )
        reduction = max(self.patch_embed.patch_size)
        self.feature_info = [
            {"module": f"layers.{i}", "num_chs": embed_dim, "reduction": reduction}
            for i in range(depth)
        ]
        self.grad_checkpointing = False
        self.fc_norm: nn.Module = nn.LayerNorm(embed_dim)
        self.global_pool = _pool(global_pool)
        self.reset_classifier(num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Return Z^1, the input of the first layer: (B, C, H, W) -> (B, N, d)."""
        tokens = self.patch_embed(images)  # (B, N-1, d)
        cls_token = self.cls_token.expand(tokens.shape[0], -1, -1)  # (B, 1, d)
        return torch.cat([cls_token, tokens], dim=1) + self.pos_embed  # (B, N, d)

    def forward_features(self, images: Tensor, trace: Trace | None = None) -> Tensor:
        """Return the last layer's tokens, before pooling: (B, C, H, W) -> (B, N, d)."""
        if not torch.jit.is_scripting():  # noqa: SIM102  (TorchScript skips only a block like this)
            if isinstance(trace, fx.Proxy):  # torch.fx passes a symbol for an argument not given
                trace = None
        tokens = self.embed(images)  # (B, N, d)
        if trace is not None:
            trace.restart()
        for layer in self.layers:
            if trace is not None:  # not checkpointed: a trace keeps what that would drop
                tokens = layer(tokens, trace.new_layer())  # Z^l -> Z^{l+1}, (B, N, d)
            elif self.grad_checkpointing and not torch.jit.is_scripting():
                tokens = checkpoint(layer, tokens)
            else:
                tokens = layer(tokens)
        return tokens

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Features | tuple[Tensor, Features]:
        """Return (`forward_features(images)`, the tokens after the layers `indices`), as timm does.

        `indices` selects the last n layers (int), the listed layers, or all (None).
        `return_prefix_tokens` makes each intermediate a pair with CLS, (B, 1, d).
        `norm` applies the norm before the head to each intermediate.
        `stop_early` skips the layers after the last selected one.
        `output_fmt` is "NCHW", (B, d, h, w), or "NLC", (B, N-1, d).
        `intermediates_only` returns the list without the final tokens.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt: given {output_fmt!r}, allowed NCHW or NLC")
        take, last = feature_take_indices(len(self.layers), indices)
        tokens, taken = self.embed(images), []
        for i, layer in enumerate(self.layers[: last + 1] if stop_early else self.layers):
            tokens = checkpoint(layer, tokens) if self.grad_checkpointing else layer(tokens)
            if i in take:
                taken.append(self.fc_norm(tokens) if norm else tokens)
        prefixes = [each[:, : self.num_prefix_tokens] for each in taken]  # (B, 1, d)
        patches = [each[:, self.num_prefix_tokens :] for each in taken]  # (B, N-1, d)
        if output_fmt == "NCHW":
            grid = self.patch_embed.grid_size
            patches = [each.mT.unflatten(2, grid).contiguous() for each in patches]  # (B, d, h, w)
        features: Features = patches
        if return_prefix_tokens:
            features = list(zip(patches, prefixes, strict=True))
        return features if intermediates_only else (tokens, features)

    def prune_intermediate_layers(
        self,
        indices: int | list[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove what the intermediates `indices` do not need; return their layers' numbers."""
        take, last = feature_take_indices(len(self.layers), indices)
        self.layers = self.layers[: last + 1]
        if prune_norm:
            self.fc_norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0)
        return take

    def forward_head(self, tokens: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits, (B, N, d) -> (B, num_classes), or if `pre_logits` their input, (B, d)."""
        pooled = tokens[:, 0] if self.global_pool == "token" else tokens.mean(dim=1)  # (B, d)
        pooled = self.fc_norm(pooled)
        return pooled if pre_logits else self.head(pooled)

    def forward(self, images: Tensor, trace: Trace | None = None) -> Tensor:
        """Return logits, (B, C, H, W) -> (B, num_classes); fill `trace` if there is one."""
        return self.forward_head(self.forward_features(images, trace))

    def get_classifier(self) -> nn.Module:
        """Return the last linear map, or Identity if there are no classes."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Draw a new classifier, on the model's device and in its dtype; set the pool if given."""
        if num_classes < 0:
            raise ValueError(f"num_classes: given {num_classes}, allowed 0 (no classifier) or more")
        if global_pool is not None:
            self.global_pool = _pool(global_pool)
        self.num_classes = num_classes
        self.head = nn.Linear(self.embed_dim, num_classes) if num_classes else nn.Identity()
        self.head.to(self.cls_token).train(self.training)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Return the weights that timm's optimizers do not decay ([C] decays them)."""
        return {"pos_embed", "cls_token"}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Return patterns of weight names for timm's layer decay: the stem, then each layer."""
        return {"stem": r"^cls_token|pos_embed|patch_embed", "blocks": r"^layers\.(\d+)"}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Store only each layer's input, and recompute the rest in the backward pass."""
        self.grad_checkpointing = enable


def _pool(global_pool: str) -> str:
    if global_pool not in POOLS:
        raise ValueError(f"global_pool: given {global_pool!r}, allowed {' or '.join(POOLS)}")
    return global_pool


def _head_dim(embed_dim: int, num_heads: int, head_dim: int | None) -> int:
    if head_dim is not None:
        _check_counts(head_dim=head_dim)
        return head_dim
    if embed_dim % num_heads:
        raise ValueError(
            f"num_heads: given {num_heads}, allowed a divisor of embed_dim {embed_dim}; "
            "or give head_dim"
        )
    return embed_dim // num_heads


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}: given {count}, allowed 1 or more")


def _check_step(step_size: float, sparsity: float) -> None:
    if not step_size > 0:
        raise ValueError(f"step_size: given {step_size}, allowed above 0")
    if not sparsity >= 0:
        raise ValueError(f"sparsity: given {sparsity}, allowed 0 or more")
