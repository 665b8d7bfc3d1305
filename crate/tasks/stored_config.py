"""The configuration that a checkpoint brings along, for the tasks that read one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config import check, schema
from crate.config.own import stored_key
from crate.errors import UserError
from crate.paths import absolute
from crate.tasks.checkpoint_file import require_checkpoint

logger = logging.getLogger("crate")

SHARED = ("img_size", "in_chans", "num_classes")  # what a model takes over from its data
PREPARATION = ("img_size", "in_chans", "mean", "std", "crop_pct")  # how a model sees an image


def stored(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, Any], Path]:
    """Returns the configuration to read `cfg.checkpoint` with, what is in it, and its path.

    That of a run's checkpoint is its own, changed by what was typed beside it; that of bare weights
    and of the authors' checkpoints is `cfg`. Raises UserError where there is no such checkpoint.
    """
    if cfg.checkpoint is None:
        check.typed(cfg, [_no_checkpoint(cfg.task)])  # raises it with other mistakes
    path = absolute(cfg.checkpoint)
    require_checkpoint(path, "checkpoint")
    from crate.train.checkpoints.checkpoint import read

    values = read(path)
    if isinstance(values.get("config"), dict):
        cfg = _with_typed(values["config"], cfg, overrides, path)
    elif "config" in values and isinstance(values.get("model"), dict):
        raise UserError(
            f"{path} is damaged: its configuration is {type(values['config']).__name__}, "
            "not named values",
            "a whole checkpoint of a run",
            "checkpoint=FILE",
        )
    return cfg, values, path


def _no_checkpoint(task: str) -> UserError:
    return UserError(
        f"task={task} needs a checkpoint",
        "a file under outputs/runs/*/checkpoints, or the authors'",
        f"task={task} checkpoint=FILE",
    )


def _with_typed(
    stored: dict[str, Any], cfg: DictConfig, overrides: list[str], path: Path
) -> DictConfig:
    """Return the configuration stored in a checkpoint, changed by what was typed.

    Where another data set is typed, its images are prepared as the checkpoint's were.
    """
    try:
        tree = schema.restore(stored)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the configuration in {path} is damaged or of another version: {reason}",
            "a checkpoint of a run of this version",
            "checkpoint=FILE",
        ) from None
    typed = [override.lstrip("+").partition("=")[0] for override in overrides]
    if "experiment" in typed:
        raise UserError(
            "experiment= is for training; a checkpoint brings its own configuration",
            "single groups and keys",
            f"task={cfg.task} checkpoint=FILE",
        )
    _follow_data(tree.model, stored)
    prepared = {key: tree.data._get_node(key) for key in PREPARATION}
    for group in [key for key in typed if key in schema.SCHEMAS]:
        tree[group] = cfg._get_node(group)  # its schema may be another
    if "data" in typed:
        for key, value in prepared.items():
            tree.data[key] = value
        logger.info("images are prepared as those that the checkpoint was trained on")
    for key in [key for key in typed if key not in schema.SCHEMAS]:
        OmegaConf.update(tree, stored_key(tree, key), OmegaConf.select(cfg, key), force_add=True)
    return tree


def _follow_data(model: DictConfig, stored: dict[str, Any]) -> None:
    """Make the image facts of a stored model follow the data again, so that both can change."""
    for node in (model, model.kwargs):
        for key in SHARED:
            if key in node and key in stored["data"] and node[key] == stored["data"][key]:
                node[key] = f"${{data.{key}}}"
