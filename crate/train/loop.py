"""The training loop, from top to bottom in one function."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from crate.config.schema import Config
from crate.data.loader import eval_batches, train_batches
from crate.progress import Bar
from crate.provenance import redact
from crate.runfolder import RunFolder
from crate.tracking import Tracker
from crate.train.checkpoint import Checkpoints
from crate.train.device import autocast
from crate.train.evaluate import evaluate
from crate.train.optimizer import set_lr
from crate.train.preempt import Signals
from crate.train.setup import Setup
from crate.train.state import TrainState

logger = logging.getLogger("crate")


class NonFinite(Exception):
    """The loss or a weight is no finite number any more."""


def train(
    config: Config,
    setup: Setup,
    folder: RunFolder,
    signature: str,
    tracker: Tracker,
    signals: Signals,
) -> TrainState:
    """Trains until the last step or a signal, from the newest checkpoint on; returns the state.

    Raises NonFinite where a loss or a weight stops being finite; the last good checkpoint stands.
    """
    model, optimizer, options = setup.model, setup.optimizer, config.train
    state = TrainState(model, optimizer, loss_sum=torch.zeros((), device=setup.device))
    checkpoints = Checkpoints(folder.checkpoints, signature, options.keep)
    if (saved := checkpoints.newest()) is not None:
        state.load_state_dict(saved)
        logger.info("going on at step %d of %d", state.step, setup.total_steps)
    folder.cut_metrics(state.step)
    resolved = redact(asdict(config))  # as it is stored and tracked
    tracker.start(folder, signature, resolved)
    batches = train_batches(
        setup.train_images,
        setup.train_transform,
        batch_size=options.batch_size,
        seed=config.seed,
        start=state.step,
        stop=setup.total_steps,
        workers=config.data.workers,
    )
    model.train()
    next_save = time.monotonic() + 60 * options.checkpoint_every_min

    with Bar(state.step, setup.total_steps) as bar:
        while True:
            epoch_ended = state.step % setup.steps_per_epoch == 0 and state.step > 0
            if epoch_ended and state.evaluated_step < state.step:
                metrics = _evaluate(config, setup, signals)
                if metrics is not None:  # None: a signal came first; the resumed run evaluates
                    _record(state, setup, metrics, tracker)
                    if state.best_step == state.step:
                        checkpoints.save_best(_weights(resolved, state, metrics))

            due = time.monotonic() >= next_save or (
                options.checkpoint_every_steps
                and state.step % options.checkpoint_every_steps == 0
                and state.step > 0
            )
            done = state.step == setup.total_steps
            if due or done or signals.save or signals.exit_code is not None:
                _require_finite(state)
                checkpoints.save(state.step, state.state_dict() | {"config": resolved})
                folder.update_status(step=state.step)
                signals.save = False
                next_save = time.monotonic() + 60 * options.checkpoint_every_min
            if done or signals.exit_code is not None:
                return state

            images, labels = next(batches)
            lr = set_lr(optimizer, setup.factor(state.step))
            state.loss_sum += _backward(config, setup, images, labels)
            if options.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step += 1

            if state.step % options.log_every_steps == 0 or state.step % setup.steps_per_epoch == 0:
                metrics = {"train/loss": _mean_loss(state), "lr": lr}
                tracker.log(state.step, _clock(state, setup) | metrics)
                bar.update(state.step, f"loss {metrics['train/loss']:.3f}")
                folder.update_status(step=state.step)
            else:
                bar.update(state.step)


def _backward(config: Config, setup: Setup, images: Tensor, labels: Tensor) -> Tensor:
    """Adds the gradient of the batch's mean loss, in parts; returns that loss, on the device.

    images (B, C, H, W) uint8, labels (B,); each part weighs by its share of the batch.
    """
    options, total = config.train, torch.zeros((), device=setup.device)
    parts = min(options.accumulation_steps, len(labels))
    for part, answers in zip(images.chunk(parts), labels.chunk(parts), strict=True):
        part = part.to(setup.device, non_blocking=True)
        answers = answers.to(setup.device, non_blocking=True)
        with autocast(setup.device, setup.precision):
            logits = setup.model(setup.normalize(part))  # (b, num_classes)
        loss = F.cross_entropy(logits.float(), answers, label_smoothing=options.label_smoothing)
        loss = loss * (len(answers) / len(labels))
        loss.backward()
        total += loss.detach()
    return total


def _mean_loss(state: TrainState) -> float:
    """Returns the mean loss since the last log line, and begins the next mean."""
    mean = state.loss_sum.item() / (state.step - state.logged_step)
    if not torch.isfinite(state.loss_sum):
        raise NonFinite(
            f"the loss became {mean} between steps {state.logged_step + 1} and {state.step}"
        )
    state.loss_sum.zero_()
    state.logged_step = state.step
    return mean


def _require_finite(state: TrainState) -> None:
    """Keeps a broken state from becoming a checkpoint."""
    if not state.is_finite():
        raise NonFinite(
            "the loss or a weight stopped being finite between steps "
            f"{state.logged_step + 1} and {state.step}"
        )


def _evaluate(config: Config, setup: Setup, signals: Signals) -> dict[str, float] | None:
    workers = config.data.workers
    batches = eval_batches(setup.val_images, setup.val_transform, workers=workers)
    return evaluate(
        setup.model,
        batches,
        setup.normalize,
        device=setup.device,
        precision=setup.precision,
        interrupted=lambda: signals.exit_code is not None,
    )


def _record(state: TrainState, setup: Setup, metrics: dict[str, float], tracker: Tracker) -> None:
    """Logs an evaluation, and remembers the best."""
    state.evaluated_step, state.last_top1 = state.step, metrics["val/top1"]
    if metrics["val/top1"] > state.best_top1:
        state.best_top1, state.best_step = metrics["val/top1"], state.step
    clock = _clock(state, setup)
    tracker.log(state.step, clock | metrics)
    logger.info(
        "epoch %d/%d  step %d  val/loss %.4f  val/top1 %.2f  best %.2f  %.0f s",
        state.step // setup.steps_per_epoch,
        setup.total_steps // setup.steps_per_epoch,
        state.step,
        metrics["val/loss"],
        metrics["val/top1"],
        state.best_top1,
        clock["time_s"],
    )


def _clock(state: TrainState, setup: Setup) -> dict[str, float]:
    return {
        "epoch": round(state.step / setup.steps_per_epoch, 4),
        "time_s": round(state.time_s(), 3),
    }


def _weights(
    resolved: dict[str, Any], state: TrainState, metrics: dict[str, float]
) -> dict[str, Any]:
    """Returns what best.pt holds."""
    return {
        "model": state.model.state_dict(),
        "config": resolved,
        "step": state.step,
        "metrics": metrics,
    }
