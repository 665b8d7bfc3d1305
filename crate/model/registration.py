"""The four published sizes in timm's registry ([P] Table 1).

timm.create_model("crate_tiny_patch16_224", num_classes=10, img_size=32, patch_size=4)
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from crate.model.crate import CRATE

# The published sizes. conf/model/crate_*.yaml repeat them for readers; a test compares the two.
SIZES: dict[str, dict[str, int]] = {
    "crate_tiny_patch16_224": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "crate_small_patch16_224": {"embed_dim": 576, "depth": 12, "num_heads": 12},
    "crate_base_patch16_224": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "crate_large_patch16_224": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}

# Evaluation as in [C]: resize to 256 (bilinear, torchvision's default), centre crop to 224.
_CFG = {
    "url": "",
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "fixed_input_size": True,
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "mean": IMAGENET_DEFAULT_MEAN,
    "std": IMAGENET_DEFAULT_STD,
    "first_conv": "patch_embed.proj",
    "classifier": "head",
}

default_cfgs = generate_default_cfgs({name: dict(_CFG) for name in SIZES})


def _build(name: str, pretrained: bool, given: dict[str, Any]) -> CRATE:
    """Return the model of a published size; the arguments in `given` replace those of the size."""
    if pretrained and not (given.get("pretrained_cfg") or given.get("pretrained_cfg_overlay")):
        raise ValueError(
            f"{name}: given pretrained=True, allowed False: no weights are hosted; pass "
            "checkpoint_path=..., for the authors' files after crate.model.official.convert"
        )
    if not given.get("drop_rate"):
        given.pop("drop_rate", None)  # timm's scripts pass 0.0 to every model; CRATE drops nothing
    features = {"out_indices": 3, "feature_cls": "getter"}  # of features_only=True, as timm's ViT
    return build_model_with_cfg(
        CRATE, name, pretrained, feature_cfg=features, **(SIZES[name] | given)
    )


@register_model
def crate_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> CRATE:
    """Build CRATE-T, 6.09 M parameters."""
    return _build("crate_tiny_patch16_224", pretrained, kwargs)


@register_model
def crate_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> CRATE:
    """Build CRATE-S, 13.12 M parameters."""
    return _build("crate_small_patch16_224", pretrained, kwargs)


@register_model
def crate_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> CRATE:
    """Build CRATE-B, 22.80 M parameters."""
    return _build("crate_base_patch16_224", pretrained, kwargs)


@register_model
def crate_large_patch16_224(pretrained: bool = False, **kwargs: Any) -> CRATE:
    """Build CRATE-L, 77.64 M parameters."""
    return _build("crate_large_patch16_224", pretrained, kwargs)
