"""What config.json of an export says of a model, its classes and its images, as timm reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crate.config.schema import CRATE, Config, Data, Folder, ViT, pair
from crate.config.target import arguments
from crate.data.images import layout
from crate.errors import UserError

VIT_SIZES = {  # timm's names
    "vit_tiny_patch16_224": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small_patch16_224": {"embed_dim": 384, "depth": 12, "num_heads": 6},
}


def described(config: Config) -> dict[str, Any]:
    """Return what config.json says of a model: timm's architecture, or the user's own class."""
    model, given = config.model, arguments(config.model)
    if isinstance(model, CRATE | ViT) and not model.is_own:
        name = {"architecture": _architecture(model)}
    elif model._target_ == "crate.model.from_timm.create":
        name, given = _of_timm(given)
    else:
        name = {"target": model._target_}
    return {
        **name,
        "num_classes": config.data.num_classes,
        "model_args": given,
        "pretrained_cfg": _preparation(config.data, fixed_size="img_size" in given),
    }


def _architecture(model: CRATE | ViT) -> str:
    """Return timm's name for a model.

    timm knows each class by the names of a few sizes. Any other size goes by the first of them,
    with its dimensions as arguments.
    """
    from crate.model.registration import SIZES

    sizes = SIZES if isinstance(model, CRATE) else VIT_SIZES
    size = {key: getattr(model, key) for key in ("embed_dim", "depth", "num_heads")}
    return next((name for name, known in sizes.items() if known == size), next(iter(sizes)))


def _of_timm(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return timm's name for a model of `model=timm`, and the arguments that build it."""
    from timm.models import resolve_model_input_args

    given = {key: each for key, each in given.items() if key != "pretrained"}
    name = given.pop("model_name")
    asked = {key: given.pop(key) for key in ("img_size", "in_chans")}
    given = resolve_model_input_args(name, asked, **given)
    return {"architecture": name}, {
        key: each for key, each in given.items() if key not in ("model_name", "pretrained_cfg")
    }


def _preparation(data: Data, *, fixed_size: bool) -> dict[str, Any]:
    """Return how evaluation prepares an image, under timm's keys."""
    mean, std = (
        list(each) * (data.in_chans if len(each) == 1 else 1) for each in (data.mean, data.std)
    )
    return {
        "num_classes": data.num_classes,
        "input_size": [data.in_chans, *pair(data.img_size)],
        "fixed_input_size": fixed_size,  # True: timm passes img_size to the model
        "crop_pct": data.crop_pct,
        "crop_mode": "squash" if data.crop_pct == 1 else "center",
        "interpolation": "bilinear",
        "mean": mean,
        "std": std,
    }


def names_of_folder(data: Data) -> list[str] | None:
    """Return the names of the classes of an image folder; None if the folder is gone.

    For checkpoints of earlier versions, which do not store the names.
    """
    if not isinstance(data, Folder) or data.root is None or not Path(data.root).is_dir():
        return None
    root = Path(data.root)
    try:
        words, names = layout.labels(root), layout.class_names(root)
    except UserError:
        return None
    return [words.get(name, name) for name in names] if len(names) == data.num_classes else None
