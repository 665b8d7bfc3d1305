"""The configuration that a checkpoint brings along, for the tasks that read one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config import check, schema
from crate.config.errors import UserError
from crate.paths import absolute

SHARED = ("img_size", "in_chans", "num_classes")  # what a model takes over from its data


def stored(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, Any], Path]:
    """Returns the configuration to read `cfg.checkpoint` with, what is in it, and its path.

    That of a run's checkpoint is its own, changed by what was typed beside it; that of bare weights
    and of the authors' checkpoints is `cfg`. Raises UserError where there is no such checkpoint.
    """
    if cfg.checkpoint is None:
        check.typed(cfg)  # says that a checkpoint is needed
    path = absolute(cfg.checkpoint)
    if not path.is_file():
        allowed = "a .pt, .pth or .safetensors file"
        raise UserError(f"there is no checkpoint {path}", allowed, "checkpoint=FILE")
    from crate.train.checkpoint import read

    values = read(path)
    if isinstance(values.get("config"), dict):
        cfg = _with_typed(values["config"], cfg, overrides)
    return cfg, values, path


def _with_typed(stored: dict[str, Any], cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Returns the configuration stored in a checkpoint, changed by what was typed."""
    try:
        tree = schema.restore(stored)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the checkpoint's configuration is of another version: {reason}") from None
    for key in SHARED:
        if key in tree.model and stored["model"][key] == stored["data"][key]:
            tree.model[key] = f"${{data.{key}}}"
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if key == "experiment":
            raise UserError(
                "experiment= is for training; a checkpoint brings its own configuration",
                "single groups and keys",
                f"task={cfg.task} checkpoint=FILE",
            )
        OmegaConf.update(tree, key, OmegaConf.select(cfg, key), force_add=True)
    return tree
