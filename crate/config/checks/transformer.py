"""Checks of a transformer's sizes against each other, and against the data that it gets."""

from __future__ import annotations

from crate.config.schema import CRATE, Data, Transformer, pair
from crate.config.tokens import MAX_TOKENS, divides, nearest_multiple, num_tokens, patch_sizes
from crate.errors import UserError


def transformer_errors(model: Transformer, data: Data) -> list[UserError]:
    """Return every combination of sizes that cannot be."""
    return _token_errors(model) + _head_errors(model) + _mismatch_errors(model, data)


def _token_errors(model: Transformer) -> list[UserError]:
    """Return the error of patches that do not tile the image, or give too many tokens."""
    image, patch = pair(model.img_size), pair(model.patch_size)
    if not divides(patch, image):
        return [_no_tiling(model)]
    tokens = num_tokens(patch, image)
    if tokens <= MAX_TOKENS or model.allow_long:
        return []
    return [
        UserError(
            f"model.img_size={model.img_size} in patches of {model.patch_size} gives "
            f"{tokens} tokens",
            f"{MAX_TOKENS} tokens, or more on purpose",
            "a larger model.patch_size, or model.allow_long=true",
        )
    ]


def _no_tiling(model: Transformer) -> UserError:
    """Return the error of patches that do not tile the image: a patch that does, or an image."""
    image, patch = pair(model.img_size), pair(model.patch_size)
    given = f"model.patch_size={model.patch_size} does not divide model.img_size={model.img_size}"
    fits = patch_sizes(image, patch[0], model.allow_long)
    if fits:
        sizes = ", ".join(map(str, sorted(fits)[:12]))
        return UserError(given, f"patch sizes {sizes}", f"model.patch_size={fits[0]}")
    height, width = map(nearest_multiple, image, patch)
    size = height if height == width else f"[{height},{width}]"
    return UserError(given, "a size that patches divide", f"data.img_size={size}")


def _head_errors(model: Transformer) -> list[UserError]:
    """Return the error of heads that do not divide the embedding."""
    if isinstance(model, CRATE) and model.head_dim is not None:
        return []
    if model.embed_dim % model.num_heads == 0:
        return []
    fits = [heads for heads in range(1, model.embed_dim + 1) if model.embed_dim % heads == 0]
    best = min(fits, key=lambda heads: abs(heads - model.num_heads))
    free = " or model.head_dim=DIM" if isinstance(model, CRATE) else ""
    return [
        UserError(
            f"model.num_heads={model.num_heads} does not divide model.embed_dim={model.embed_dim}",
            "heads " + ", ".join(map(str, fits[:12])),
            f"model.num_heads={best}{free}",
        )
    ]


def _mismatch_errors(model: Transformer, data: Data) -> list[UserError]:
    """Return an error for each fact about the images that model and data state differently."""
    errors = []
    for name in ("img_size", "in_chans", "num_classes"):
        ours, theirs = getattr(model, name), getattr(data, name)
        if (pair(ours) != pair(theirs)) if name == "img_size" else (ours != theirs):
            errors.append(
                UserError(
                    f"model.{name}={ours} differs from data.{name}={theirs}",
                    f"data.{name} alone, which the model takes over",
                    f"data.{name}={ours}",
                )
            )
    return errors
