"""The task `export`: a checkpoint's model as files that timm loads.

    FOLDER/
        model.safetensors   the weights, under timm's names for this model
        config.json         architecture and its arguments, as timm reads them; what the run was

    timm.create_model(architecture, checkpoint_path=FOLDER/model.safetensors, **model_args)
    timm.create_model("local-dir:FOLDER", pretrained=True)

CRATE is timm's once `import crate.model` has registered it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from crate.config import check
from crate.config.errors import UserError
from crate.config.schema import CRATE, Config, Data, ViT, pair
from crate.stored_config import stored

logger = logging.getLogger("crate")

FILES = ("model.safetensors", "config.json")
SIZES = {  # (embed_dim, depth, num_heads) -> timm's name; others are the first with arguments
    CRATE: {
        (384, 12, 6): "crate_tiny_patch16_224",
        (576, 12, 12): "crate_small_patch16_224",
        (768, 12, 12): "crate_base_patch16_224",
        (1024, 24, 16): "crate_large_patch16_224",
    },
    ViT: {(192, 12, 3): "vit_tiny_patch16_224", (384, 12, 6): "vit_small_patch16_224"},
}
NOT_ARGUMENTS = ("_target_", "kwargs", "allow_long")


def export_checkpoint(cfg: DictConfig, overrides: list[str]) -> Path:
    """Writes the model of `cfg.checkpoint` to `cfg.export_to`, whole or not at all; returns where.

    Without `export_to` that is the checkpoint's name with -export behind it, beside it. An earlier
    export is replaced. Raises UserError for a folder that holds something else, for a model that
    timm does not know, and for weights that do not fit. The data set need not be there.
    """
    tree, values, path = stored(cfg, overrides)
    tree.task, tree.checkpoint, tree.export_to = "export", str(path), cfg.export_to
    config = check.typed(tree)
    architecture, arguments = _architecture(config)
    model = _model(config, values, path)
    folder = Path(config.export_to or path.with_name(f"{path.stem}-export"))
    _require_free(folder)
    described = {
        "architecture": architecture,
        "num_classes": arguments["num_classes"],
        "model_args": arguments,
        "pretrained_cfg": _preparation(config.data, arguments),
        "crate": {
            "checkpoint": path.name,
            "signature": values.get("signature"),
            "step": values.get("step"),
            "metrics": values.get("metrics"),
        },
    }
    _write(folder, model.state_dict(), described)
    if isinstance(values.get("ema"), dict):
        logger.info("the running mean of the weights (val/ema_*) is not exported")
    logger.info("exported to %s: %s", folder, ", ".join(FILES))
    logger.info('load it by timm.create_model("local-dir:%s", pretrained=True)', folder)
    return folder


def _architecture(config: Config) -> tuple[str, dict[str, Any]]:
    """Returns timm's name of the configured model, and the arguments that make it."""
    model = config.model
    if type(model) in SIZES and not model.is_own:
        arguments = {key: each for key, each in vars(model).items() if key not in NOT_ARGUMENTS}
        known = SIZES[type(model)]
        size = (model.embed_dim, model.depth, model.num_heads)
        return known.get(size, next(iter(known.values()))), arguments
    if model._target_ == "crate.model.from_timm.create":
        from timm.models import resolve_model_input_args

        arguments = {key: each for key, each in model.kwargs.items() if key != "pretrained"}
        name = arguments.pop("model_name")
        asked = {key: arguments.pop(key) for key in ("img_size", "in_chans")}
        arguments = resolve_model_input_args(name, asked, **arguments)
        for key in ("model_name", "pretrained_cfg"):
            arguments.pop(key, None)
        return name, arguments
    raise UserError(
        f"timm knows no {model._target_}",
        "CRATE, ViT, and the models of timm (model=timm)",
        "a checkpoint of one of these",
    )


def _model(config: Config, values: dict[str, Any], path: Path) -> Any:
    import torch

    from crate.train.initialize import load_into
    from crate.train.setup import build_model

    model = build_model(config, torch.device("cpu"))
    for note in load_into(model, values, path):
        logger.info(note)
    return model


def _preparation(data: Data, arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns how evaluation prepares an image, in timm's words."""
    size = pair(data.img_size)
    whole = data.crop_pct == 1
    return {
        "num_classes": arguments["num_classes"],
        "input_size": [data.in_chans, *size],
        "fixed_input_size": "img_size" in arguments,  # timm passes it on then
        "crop_pct": data.crop_pct,
        "crop_mode": "squash" if whole else "center",
        "interpolation": "bilinear",
        "mean": list(data.mean),
        "std": list(data.std),
    }


def _require_free(folder: Path) -> None:
    held = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or set(held) - set(FILES):
        raise UserError(
            f"{folder} holds something else than an export",
            "a new folder, an empty one, or an earlier export, which is replaced",
            "export_to=FOLDER",
        )


def _write(folder: Path, weights: dict[str, Any], described: dict[str, Any]) -> None:
    """Makes the folder under another name, then gives it its own."""
    from safetensors.torch import save

    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        new.mkdir(parents=True)
        weights = {name: each.detach().cpu().contiguous() for name, each in weights.items()}
        (new / FILES[0]).write_bytes(save(weights, metadata={"format": "pt"}))
        (new / FILES[1]).write_text(json.dumps(described, indent=2) + "\n")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        reason = f"cannot write to {folder}: {error.strerror}"
        raise UserError(reason, "a writable folder with room", "export_to=FOLDER") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
