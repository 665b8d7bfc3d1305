"""The models: CRATE, ViT, and a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import II, MISSING

from crate.config.schema.field import Target, option


@dataclass
class Model(Target):
    """The base of all models; a user's own is built as `_target_(**kwargs)`."""


@dataclass
class Transformer(Model):
    """The fields that CRATE and ViT share; those of the images come from the data."""

    img_size: Any = option(II("data.img_size"), "image side in pixels, or (h, w)", size=True)
    in_chans: int = option(II("data.in_chans"), "image channels", at_least=1)
    num_classes: int = option(II("data.num_classes"), "number of classes", at_least=1)
    patch_size: Any = option(
        II("data.suggested.patch_size"), "patch side in pixels, or (h, w)", size=True
    )
    embed_dim: int = option(MISSING, "token dimension d", at_least=1)
    depth: int = option(MISSING, "number of layers", at_least=1)
    num_heads: int = option(MISSING, "number of heads (subspaces) K", at_least=1)
    global_pool: str = option("token", "what the head reads", choices=("token", "avg"))
    allow_long: bool = option(False, "admit more than 4,096 tokens", identity=False, argument=False)


@dataclass
class CRATE(Transformer):
    """The white-box transformer; see `crate.model.CRATE`."""

    _target_: str = option("crate.model.CRATE", "the model's class")
    head_dim: int | None = option(
        None, "dimension p of a subspace; null: embed_dim / num_heads", at_least=1
    )
    step_size: float = option(0.1, "eta, step size of ISTA", above=0)
    sparsity: float = option(0.1, "lambda, weight of the l1 term in ISTA", at_least=0)
    compression: str = option(
        "mssa",
        "operator that compresses the tokens of a layer",
        neutral="mssa",
        choices=("mssa",),
        own_class=("dim", "num_heads", "head_dim"),
    )
    sparsifier: str = option(
        "ista",
        "operator that makes the tokens of a layer sparse",
        neutral="ista",
        choices=("ista",),
        own_class=("dim", "step_size", "sparsity"),
    )


@dataclass
class ViT(Transformer):
    """timm's vision transformer, the baseline under the same recipe."""

    _target_: str = option("timm.models.vision_transformer.VisionTransformer", "the model's class")
