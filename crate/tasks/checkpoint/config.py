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
from crate.tasks.checkpoint.file import require_checkpoint

logger = logging.getLogger("crate")

SHARED = ("img_size", "in_chans", "num_classes")  # a model takes these from its data
PREPARATION = ("img_size", "in_chans", "mean", "std", "crop_pct")  # how images are prepared


def stored(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, Any], Path]:
    """Return the configuration to read `cfg.checkpoint` with, the checkpoint's values, its path.

    A run's checkpoint brings its configuration, which `overrides`, the typed ones, change. Bare
    weights and the authors' checkpoints are read with `cfg`. Raise UserError if there is no such
    checkpoint or it is damaged.
    """
    if cfg.checkpoint is None:
        check.typed(cfg, [_no_checkpoint(cfg.task)])  # raises it together with other mistakes
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
    """Return the error for a task that was given no checkpoint to read."""
    return UserError(
        f"task={task} needs a checkpoint",
        "a file under outputs/runs/*/checkpoints, or the authors'",
        f"task={task} checkpoint=FILE",
    )


def _with_typed(
    values: dict[str, Any], cfg: DictConfig, overrides: list[str], path: Path
) -> DictConfig:
    """Return the configuration `values` of the checkpoint at `path`, changed by `overrides`.

    `cfg` is composed from the same overrides. The images of another data set, if one is typed, are
    prepared like those that the checkpoint was trained on.
    """
    try:
        tree = schema.restore(values)
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
    _follow_data(tree.model, values["data"])
    prepared = {key: tree.data._get_node(key) for key in PREPARATION}
    for group in [key for key in typed if key in schema.SCHEMAS]:
        tree[group] = cfg._get_node(group)  # another option may have another schema
    if "data" in typed:
        for key, node in prepared.items():
            tree.data[key] = node
        logger.info("images are prepared like those that the checkpoint was trained on")
    for key in [key for key in typed if key not in schema.SCHEMAS]:
        OmegaConf.update(tree, stored_key(tree, key), OmegaConf.select(cfg, key), force_add=True)
    return tree


def _follow_data(model: DictConfig, data: dict[str, Any]) -> None:
    """Let the model's values that equal those of its stored `data` refer to the data again.

    So they change along with the data.
    """
    for node in (model, model.kwargs):
        for key in SHARED:
            if key in node and key in data and node[key] == data[key]:
                node[key] = f"${{data.{key}}}"
