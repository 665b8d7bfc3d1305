"""The task `export`: a checkpoint's model as files that timm loads.

    FOLDER/
        model.safetensors   the weights, under timm's names for this model
        config.json         architecture and its arguments, names of the classes and preparation of
                            the images, as timm reads them; the run that they come from

`crate.tasks.export_usage` prints how to load them. A model of the user's own, which timm does not
know, is described by its class instead of an architecture.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from crate.config import check
from crate.config.schema import Config
from crate.errors import UserError
from crate.paths import absolute
from crate.run.folder import require_writable
from crate.tasks.checkpoint.config import stored
from crate.tasks.export_config import described, names_of_folder
from crate.tasks.export_usage import usage
from crate.tasks.preflight import require_readable
from crate.tasks.request import Request

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger("crate")

FILES = ("model.safetensors", "config.json")


def run(request: Request) -> None:
    """Export the checkpoint that was asked for; see `export_checkpoint`."""
    require_readable(request.cfg, request.overrides)
    if request.cfg.export_to:
        require_writable(str(absolute(request.cfg.export_to)), "export_to")
    if request.ranks.is_first:
        export_checkpoint(request.cfg, request.overrides)


def export_checkpoint(cfg: DictConfig, overrides: list[str]) -> Path:
    """Write the model of `cfg.checkpoint` to `cfg.export_to`, whole or not at all; return where.

    Without `export_to`, write to the folder <checkpoint>-export beside the checkpoint. Replace an
    earlier export. The data set is not needed. Raise UserError if the folder holds something else,
    and if the weights do not fit the model.
    """
    tree, values, path = stored(cfg, overrides)
    tree.task, tree.checkpoint, tree.export_to = "export", str(path), cfg.export_to
    tree.evaluators = {}  # their modules need not be importable here
    config = check.typed(tree)
    entries = described(config)
    model = _model(config, values, path)
    folder = Path(config.export_to or path.with_name(f"{path.stem}-export"))
    _require_free(folder)
    if names := values.get("label_names") or names_of_folder(config.data):
        entries["label_names"] = names
    entries["crate"] = {
        "checkpoint": path.name,
        "signature": values.get("signature"),
        "step": values.get("step"),
        "metrics": values.get("metrics"),
    }
    _write(folder, model.state_dict(), entries)
    if isinstance(values.get("ema"), dict):
        logger.info("the running mean of the weights (val/ema_*) is not exported")
    if not names:
        logger.info("the names of the classes are not known: neither checkpoint nor data has them")
    logger.info("exported to %s: %s", folder, ", ".join(FILES))
    for line in usage(folder, entries, model):
        logger.info(line)
    return folder


def _model(config: Config, values: dict[str, Any], path: Path) -> nn.Module:
    """Return the model of the checkpoint at `path`, which holds `values`, on the CPU."""
    import torch

    from crate.train.checkpoints.initialize import load_into
    from crate.train.setup import build_model

    model = build_model(config, torch.device("cpu"))
    for note in load_into(model, values, path):
        logger.info(note)
    return model


def _require_free(folder: Path) -> None:
    """Raise UserError if a folder holds something other than an export."""
    held = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    if (folder.exists() and not folder.is_dir()) or set(held) - set(FILES):
        raise UserError(
            f"{folder} holds something other than an export",
            "a new folder, an empty one, or an earlier export, which is replaced",
            "export_to=FOLDER",
        )


def _write(folder: Path, weights: dict[str, Any], entries: dict[str, Any]) -> None:
    """Write the folder under a temporary name, then rename it."""
    from safetensors.torch import save

    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        new.mkdir(parents=True)
        # Cloned because safetensors refuses weights that share memory.
        weights = {name: each.detach().cpu().clone() for name, each in weights.items()}
        (new / FILES[0]).write_bytes(save(weights, metadata={"format": "pt"}))
        (new / FILES[1]).write_text(json.dumps(entries, indent=2) + "\n")
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
