"""Records and messages at the beginning and at the end of a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any

from crate.config.dotted_names import dotted_names
from crate.config.schema import Config, Objective, dump
from crate.config.schema.objective import DEFAULT, number
from crate.config.signature import shape
from crate.data import facts
from crate.errors import UserError
from crate.run import code_record, provenance
from crate.run.claim import claim_of_this_process
from crate.run.folder import RunFolder
from crate.run.status import Measured
from crate.train.checkpoints.checksum import damage

if TYPE_CHECKING:
    from crate.train.setup import Setup
    from crate.train.state import TrainState

logger = logging.getLogger("crate")


def begin(
    folder: RunFolder, config: Config, overrides: list[str], built: Setup, attempt: int
) -> None:
    """Record and log what is going to run, where, and as which attempt."""
    folder.freeze(dump(config), overrides)
    folder.update_meta(
        **provenance.describe(),
        **_code(config),
        images=facts.stamp(config.data),
        auto=built.auto,
        ranks=built.ranks.size,
    )
    folder.update_status(
        state="running",
        claim=claim_of_this_process(),
        attempts=attempt,
        reason=None,
        traceback=None,
        sigterm_at=None,
        step=folder.status.step,
        total_steps=built.steps.total,
        objective=config.objective.metric,
        direction=config.objective.goal,
    )
    for note in (*built.notes, built.compiled):
        logger.info(note)
    weights = sum(weight.numel() for weight in built.learner.model.parameters())
    logger.info(
        "%s: %s weights, %d epoch%s, %d steps, %s on %s%s",
        folder.path.name,
        f"{weights:,}",
        config.train.epochs,
        "s" * (config.train.epochs > 1),
        built.steps.total,
        built.precision,
        built.device.type,
        f", {built.ranks.size} ranks" if built.ranks.size > 1 else "",
    )


def _code(config: Config) -> dict[str, Any]:
    """Return the values of meta.json that identify the code which the run has imported."""
    files = code_record.record(dotted_names(config))
    return {"code": files, "fingerprint": code_record.fingerprint(files)}


def _launcher() -> str | None:
    """Return the name of the launcher whose job this process belongs to, if any."""
    claim = claim_of_this_process()
    return claim.job_id.launcher if claim and claim.job_id else None


def finish(folder: RunFolder, config: Config, result: TrainState, built: Setup) -> None:
    """Draw the curve, mark the run as finished, and log its result and its folder.

    `result` is the state that training reached. Raise UserError if a full disk refuses the status.
    """
    from crate.train.hardware.device import hardware

    chosen_on = images_of_choice(config, built.images.splits)
    _draw(folder, f"{folder.path.name}; best chosen on {chosen_on}", config.objective)
    folder.update_meta(**_code(config))  # with the modules that were imported late
    folder.update_status(
        state="finished",
        step=result.step,
        objective=result.objective.metric,
        direction=result.objective.goal,
        best=result.best,
        best_step=result.best_step,
        last=result.last,
        best_chosen_on=chosen_on,
        best_is_lost=result.best_is_lost,
        test=result.test,
        time_s=round(result.time_s(), 3),
        measured=Measured(  # for the estimates of later plans
            shape=shape(config),
            device_s_per_epoch=result.time_s() * built.ranks.size / config.train.epochs,
            hardware=hardware(built.device),
            in_slurm="SLURM_JOB_ID" in os.environ,
            launcher=_launcher(),
        ),
        size_mb=folder.size_mb(),
    )
    if folder.status.state != "finished":  # refused by a full disk
        raise UserError(
            f"the status of {folder.path} could not be written",
            "a disk with room; the run is saved at its last step",
            "the same command, which marks it finished",
        )
    logger.info("run folder: %s (%.1f MB)", folder.path, folder.size_mb())
    say_result(folder)


def _draw(folder: RunFolder, title: str, objective: Objective) -> None:
    """Draw the curve; if that fails, warn and go on, since the run is finished without it."""
    from crate.train.archive.curve import draw_curve

    try:
        draw_curve(folder.read_metrics(), title, folder.curve, objective)
    except OSError:  # a full disk: nothing else could be written either
        raise
    except Exception as error:
        logger.warning("the curve could not be drawn: %s: %s", type(error).__name__, error)


def images_of_choice(config: Config, splits: Mapping[str, Sized]) -> str:
    """Return a description of the images on which the best weights were chosen."""
    split = config.objective.split
    if split in config.evaluators:
        split = config.evaluators[split].split
    if split == "train":
        return "the training images"
    if "test" not in splits:
        return "the evaluation split"
    return f"{len(splits['val'])} images set apart from training"


def say_result(folder: RunFolder) -> None:
    """Log the last and the best result of a finished run, and the path of its curve."""
    status, objective = folder.status, folder.status.compared_by
    logger.info(
        "%s: last %s, best %s at step %d (chosen on %s)",
        objective.metric,
        objective.text(status.last),
        objective.text(status.best),
        status.best_step,
        status.best_chosen_on,
    )
    for metric in dict.fromkeys((DEFAULT, objective.metric)):
        name = metric.replace("val/", "test/", 1)
        if name in status.test:
            best = status.test.get(name.replace("/", "/best_", 1))
            logger.info(
                "%s: last %s, best by %s %s",
                name,
                number(name, status.test[name]),
                objective.metric,
                number(name, best),
            )
    logger.info("curve: %s", folder.curve)


def warn_of_losses(folder: RunFolder) -> None:
    """Warn if metrics.jsonl or best.pt of a finished run is lost, and name the remedy."""
    if not folder.metrics.exists():
        logger.warning("%s is gone; its newest rows are in the last checkpoint", folder.metrics)
    status, file = folder.status, folder.checkpoints / "best.pt"
    problem = damage(file)
    if problem is None and status.best_is_lost:
        problem = "does not hold the best weights, which were lost during the run"
    if problem is None:
        return
    same = folder.checkpoints / f"step-{status.best_step:08d}.pt"
    fix = "train anew with rerun=true" if damage(same) else f"the same weights are in {same}"
    logger.warning("%s %s; %s", file, problem, fix)
