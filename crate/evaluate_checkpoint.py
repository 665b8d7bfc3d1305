"""The task `evaluate`: a checkpoint on its own data, or on what the command line puts in place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config import check, schema
from crate.config.errors import UserError
from crate.config.schema import Config
from crate.data import facts
from crate.train.distributed import Ranks

logger = logging.getLogger("crate")

SHARED = ("img_size", "in_chans", "num_classes")  # what a model takes over from its data


def evaluate_checkpoint(cfg: DictConfig, overrides: list[str], ranks: Ranks) -> float:
    """Says and returns the exact val/top1 (percent) of `cfg.checkpoint`, each image once.

    A checkpoint of a run brings its configuration, so that its path says all; what is typed beside
    it wins. Bare weights and the authors' checkpoints are evaluated with `cfg` as composed.
    """
    if cfg.checkpoint is None:
        check.typed(cfg, facts.complete(cfg))  # says that a checkpoint is needed
    path = check.CHECKOUT / Path(cfg.checkpoint).expanduser()
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}", "a .pt or .pth file", "checkpoint=FILE")
    from crate.train.checkpoint import read

    values = read(path)
    if isinstance(values.get("config"), dict):
        cfg = _with_typed(values["config"], cfg, overrides)
    config = check.typed(cfg, facts.complete(cfg))
    with ranks.joined(config.device):
        metrics = ranks.each(lambda: _evaluate(config, values, path, ranks))
    return metrics["top1"]


def _evaluate(config: Config, values: dict[str, Any], path: Path, ranks: Ranks) -> dict[str, float]:
    """Returns and says the metrics of the checkpoint at `path`, which holds `values`."""
    from crate.data import transforms
    from crate.data.loader import eval_batches, load_split, num_workers
    from crate.train import setup
    from crate.train.device import resolve_device, resolve_precision
    from crate.train.evaluate import evaluate

    device = resolve_device(config.device, ranks)
    precision = resolve_precision(config.precision, device)
    model = setup.build_model(config, device)
    for note in setup.load_weights_of(model, values, path):
        logger.info(note)
    images = load_split(config.data, "val")
    batches = eval_batches(
        images,
        transforms.evaluation(config.data),
        workers=num_workers(config.data, ranks.local_size),
        rank=ranks.rank,
        size=ranks.size,
    )
    normalize = transforms.Normalize(config.data.mean, config.data.std).to(device)
    metrics = evaluate(model, batches, normalize, device=device, precision=precision, ranks=ranks)
    assert metrics is not None
    data = config.data._target_.rpartition(".")[2]
    logger.info("%d images of %s, split val, %s on %s", len(images), data, precision, device.type)
    logger.info("  ".join(f"val/{name} {value:.4f}" for name, value in metrics.items()))
    return metrics


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
                "task=evaluate checkpoint=FILE",
            )
        OmegaConf.update(tree, key, OmegaConf.select(cfg, key), force_add=True)
    return tree
