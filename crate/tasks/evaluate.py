"""The task `evaluate`: measure a checkpoint on its own data, or on the data that is typed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from crate.config import check
from crate.config.schema import Config
from crate.data.completion import complete
from crate.data.label_names import label_names
from crate.errors import UserError, shorten
from crate.ranks import Ranks
from crate.tasks.checkpoint.config import stored
from crate.tasks.lazy_splits import LazySplits
from crate.tasks.preflight import require_device, require_readable
from crate.tasks.request import Request
from crate.train.checkpoints.content import Content, weights_of_ema

if TYPE_CHECKING:
    import torch
    from torch import nn

    from crate.data.images.split import Split
    from crate.train.evaluation.batches import Images

logger = logging.getLogger("crate")


def run(request: Request) -> float | None:
    """Evaluate the checkpoint that was asked for; see `evaluate_checkpoint`."""
    require_readable(request.cfg, request.overrides)
    require_device(request.cfg, request.overrides, request.ranks)
    return evaluate_checkpoint(request.cfg, request.overrides, request.ranks)


def evaluate_checkpoint(cfg: DictConfig, overrides: list[str], ranks: Ranks) -> float | None:
    """Measure `cfg.checkpoint` on each image once; return its objective, None if not measured.

    A run's checkpoint holds its configuration, so that its path is enough; typed values override
    that configuration. Bare weights and the authors' checkpoints are evaluated with `cfg` as
    composed.
    """
    cfg, values, path = stored(cfg, overrides)
    config = check.typed(cfg, complete(cfg))
    _require_same_classes(config, values)
    with ranks.joined(config.device):
        return _evaluate(config, values, path, ranks).get(config.objective.metric)


def _require_same_classes(config: Config, values: Content) -> None:
    """Raise UserError if a run's checkpoint was trained on another number of classes."""
    if not isinstance(values.get("config"), dict):
        return
    trained, given = values["config"]["data"].get("num_classes"), config.data.num_classes
    if trained not in (None, given):
        raise UserError(
            f"the checkpoint was trained on {trained} classes, and the data has {given}",
            "data of the same classes",
            f"data=imagefolder data.root=FOLDER, with a folder for each of the {trained} classes",
        )


def _warn_of_other_names(images: Split, config: Config, values: Content) -> None:
    """Warn if the classes have other names than those that the checkpoint was trained on."""
    assert config.data.num_classes is not None  # completed from the data
    names, trained = label_names(images, config.data.num_classes), values.get("label_names")
    pairs = zip(trained or (), names or (), strict=False)
    others = [f"{name} (trained on {old})" for old, name in pairs if name != old]
    if others:
        logger.warning("classes have other names: %s", shorten(others, 5))


def _evaluate(config: Config, values: Content, path: Path, ranks: Ranks) -> dict[str, float]:
    """Return and log the metrics of the checkpoint at `path`, which holds `values`.

    Where it also holds the running mean of the weights, those of the mean are `val/ema_...`.
    """
    from crate.train.evaluation.evaluator import evaluate, evaluators
    from crate.train.hardware.device import resolve_device

    device = ranks.each(lambda: resolve_device(config.device, ranks))
    models = ranks.each(lambda: _models(config, values, path, device))
    images = ranks.each(lambda: _images(config, values, device, ranks))
    metrics: dict[str, float] = {}
    for evaluator in ranks.each(lambda: evaluators(config)):
        metrics |= evaluate(evaluator, models, images)
    data, num_images = config.data._target_.rpartition(".")[2], len(images.splits["val"])
    logger.info(
        "%d images of %s, split val, %s on %s",
        num_images,
        data,
        images.precision,
        images.device.type,
    )
    logger.info("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return metrics


def _images(config: Config, values: Content, device: torch.device, ranks: Ranks) -> Images:
    """Return the splits that evaluators see, of the data that `config` names."""
    from crate.data import transforms
    from crate.data.cache.choice import from_cache
    from crate.data.loading.workers import num_workers
    from crate.data.splits import load_split, load_splits, notes
    from crate.train.evaluation.batches import Images
    from crate.train.hardware.device import resolve_precision

    data = config.data
    outputs = config.outputs if Path(config.outputs).is_dir() else None
    stored = load_split(data, "val", outputs)
    _warn_of_other_names(stored, config, values)
    val = from_cache(stored, data, config.outputs)
    for note in notes({"val": val}):
        logger.info(note)

    def load_train() -> Split:
        return from_cache(load_splits(data, outputs)["train"], data, config.outputs)

    return Images(
        splits=LazySplits(val, load_train),
        transform=transforms.evaluation(data),
        normalize=transforms.Normalize(data.mean, data.std).to(device),
        workers=num_workers(data, ranks.local_size),
        device=device,
        precision=resolve_precision(config.precision, device),
        ranks=ranks,
    )


def _models(
    config: Config, values: Content, path: Path, device: torch.device
) -> dict[str, nn.Module]:
    """Return the models of a checkpoint by the prefix of their metrics: "" and "ema_"."""
    from crate.train.checkpoints.initialize import load_into
    from crate.train.setup import build_model

    weights = {"": values}
    if (ema := weights_of_ema(values)) is not None:
        weights["ema_"] = {"model": ema}
    models = {}
    for prefix, part in weights.items():
        models[prefix] = build_model(config, device)
        notes = load_into(models[prefix], part, path)
        for note in notes if part is values else ():
            logger.info(note)
    return models
