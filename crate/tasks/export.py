"""The task `export`: a checkpoint's model as files that timm loads.

    FOLDER/
        model.safetensors   the weights, under timm's names for this model
        config.json         architecture and its arguments, names of the classes and preparation of
                            the images, as timm reads them; what the run was

`crate.tasks.export_usage` prints how to load them. A model of the user's own, which timm does not
know, is described by its class instead of an architecture.
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
from crate.config.schema import CRATE, Config, Data, Folder, ViT, pair
from crate.config.target import arguments
from crate.data.images import layout
from crate.errors import UserError
from crate.paths import absolute
from crate.run.folder import require_writable
from crate.tasks.checkpoint.config import stored
from crate.tasks.export_usage import usage
from crate.tasks.preflight import require_readable
from crate.tasks.request import Request

logger = logging.getLogger("crate")

FILES = ("model.safetensors", "config.json")
VIT_SIZES = {  # timm's names
    "vit_tiny_patch16_224": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small_patch16_224": {"embed_dim": 384, "depth": 12, "num_heads": 6},
}


def run(request: Request) -> None:
    """Export the checkpoint that was asked for; see `export_checkpoint`."""
    require_readable(request.cfg, request.overrides)
    if request.cfg.export_to:
        require_writable(str(absolute(request.cfg.export_to)), "export_to")
    if request.ranks.is_first:
        export_checkpoint(request.cfg, request.overrides)


def export_checkpoint(cfg: DictConfig, overrides: list[str]) -> Path:
    """Write the model of `cfg.checkpoint` to `cfg.export_to`, whole or not at all; return where.

    Without `export_to` that is the checkpoint's name with -export behind it, beside it. An earlier
    export is replaced. The data set need not be there. Raise UserError for a folder that holds
    something else, and for weights that do not fit.
    """
    tree, values, path = stored(cfg, overrides)
    tree.task, tree.checkpoint, tree.export_to = "export", str(path), cfg.export_to
    config = check.typed(tree)
    described = _described(config)
    model = _model(config, values, path)
    folder = Path(config.export_to or path.with_name(f"{path.stem}-export"))
    _require_free(folder)
    if names := values.get("label_names") or _names_of_folder(config.data):
        described["label_names"] = names
    described["crate"] = {
        "checkpoint": path.name,
        "signature": values.get("signature"),
        "step": values.get("step"),
        "metrics": values.get("metrics"),
    }
    _write(folder, model.state_dict(), described)
    if isinstance(values.get("ema"), dict):
        logger.info("the running mean of the weights (val/ema_*) is not exported")
    if not names:
        logger.info("the names of the classes are not known: neither checkpoint nor data has them")
    logger.info("exported to %s: %s", folder, ", ".join(FILES))
    for line in usage(folder, described, model):
        logger.info(line)
    return folder


def _described(config: Config) -> dict[str, Any]:
    """Return what config.json says of the model: timm's architecture, or the user's own class."""
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
    """Return timm's name of a model; for another size the first name, which takes it as arguments.

    Either class is registered with timm under several sizes.
    """
    from crate.model.registration import SIZES

    sizes = SIZES if isinstance(model, CRATE) else VIT_SIZES
    size = {key: getattr(model, key) for key in ("embed_dim", "depth", "num_heads")}
    return next((name for name, known in sizes.items() if known == size), next(iter(sizes)))


def _of_timm(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return timm's name of a model that is configured by it, and the arguments that make it."""
    from timm.models import resolve_model_input_args

    given = {key: each for key, each in given.items() if key != "pretrained"}
    name = given.pop("model_name")
    asked = {key: given.pop(key) for key in ("img_size", "in_chans")}
    given = resolve_model_input_args(name, asked, **given)
    return {"architecture": name}, {
        key: each for key, each in given.items() if key not in ("model_name", "pretrained_cfg")
    }


def _model(config: Config, values: dict[str, Any], path: Path) -> Any:
    import torch

    from crate.train.checkpoints.initialize import load_into
    from crate.train.setup import build_model

    model = build_model(config, torch.device("cpu"))
    for note in load_into(model, values, path):
        logger.info(note)
    return model


def _preparation(data: Data, *, fixed_size: bool) -> dict[str, Any]:
    """Return how evaluation prepares an image, in timm's words."""
    mean, std = (
        list(each) * (data.in_chans if len(each) == 1 else 1) for each in (data.mean, data.std)
    )
    return {
        "num_classes": data.num_classes,
        "input_size": [data.in_chans, *pair(data.img_size)],
        "fixed_input_size": fixed_size,  # timm passes it on then
        "crop_pct": data.crop_pct,
        "crop_mode": "squash" if data.crop_pct == 1 else "center",
        "interpolation": "bilinear",
        "mean": mean,
        "std": std,
    }


def _names_of_folder(data: Data) -> list[str] | None:
    """Return the names of the classes of a folder of images, if it is still there.

    Checkpoints of earlier versions do not hold them.
    """
    if not isinstance(data, Folder) or data.root is None or not Path(data.root).is_dir():
        return None
    root = Path(data.root)
    try:
        words, names = layout.labels(root), layout.class_names(root)
    except UserError:
        return None
    return [words.get(name, name) for name in names] if len(names) == data.num_classes else None


def _require_free(folder: Path) -> None:
    held = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or set(held) - set(FILES):
        raise UserError(
            f"{folder} holds something else than an export",
            "a new folder, an empty one, or an earlier export, which is replaced",
            "export_to=FOLDER",
        )


def _write(folder: Path, weights: dict[str, Any], described: dict[str, Any]) -> None:
    """Make the folder under another name, then give it the right one."""
    from safetensors.torch import save

    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        new.mkdir(parents=True)
        # Clones, as safetensors refuses weights that share memory.
        weights = {name: each.detach().cpu().clone() for name, each in weights.items()}
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
