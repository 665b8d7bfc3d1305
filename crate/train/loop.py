"""The training loop, from top to bottom in one function."""

from __future__ import annotations

import copy
import logging
import math
import time
from functools import partial
from typing import Any

from torch import nn

from crate.config.schema import Config, dump
from crate.data.loading.loader import eval_batches, train_batches
from crate.data.loading.prefetch import on_device
from crate.errors import UserError
from crate.ranks import until_error
from crate.run.folder import RunFolder
from crate.run.secrets import redact
from crate.tracking import Tracker
from crate.train.best import Best
from crate.train.checkpoints.checkpoint import Checkpoints, read
from crate.train.evaluate import evaluate
from crate.train.history import History
from crate.train.optimizers.optimizer import set_lr
from crate.train.profile import profiler
from crate.train.record import Record, Silence
from crate.train.setup import Setup
from crate.train.signals import Signals
from crate.train.state import TrainState
from crate.train.step import backward, update

logger = logging.getLogger("crate")
RETRY_MIN = 0.5  # until what could not be saved is tried again


class NonFinite(UserError):
    """The loss or a weight is no finite number any more."""

    def __init__(self, what: str, state: TrainState) -> None:
        steps = f"between steps {state.logged_step + 1} and {state.step}"
        super().__init__(
            f"{what} {steps}; the last good checkpoint stands",
            "a smaller learning rate, clipping, or more precise arithmetic",
            "optimizer.lr=..., train.clip_norm=1 or precision=fp32",
        )


def train(
    config: Config,
    setup: Setup,
    folder: RunFolder,
    signature: str,
    tracker: Tracker,
    signals: Signals,
) -> TrainState:
    """Trains until all is done or a signal comes, from the newest checkpoint on.

    Returns the state, whose `is_done` tells which; all ranks stop at the same step. Raises
    NonFinite where a loss or a weight stops being finite; the last good checkpoint stands.
    """
    options, ranks = config.train, setup.ranks
    state = TrainState(setup, config.objective)
    checkpoints = Checkpoints(folder.checkpoints, signature, options.keep)
    history, saved_history = History(folder.metrics), None
    if (file := ranks.first(checkpoints.newest)) is not None:
        values = read(file)
        state.load_state_dict(values)
        saved_history = values.get("history")
        logger.info("going on at step %d of %d", state.step, setup.total_steps)
    resolved = dump(config)  # as a checkpoint stores it, to be restored and run
    tracked_by = {"_target_": config.tracker._target_}  # restored, but its values are never used
    resolved["tracker"] = redact(resolved["tracker"]) | tracked_by
    described = {"config": resolved, "label_names": setup.label_names}
    best, record = Best(checkpoints, history, described), Silence()
    if ranks.is_first:
        history.resume(saved_history, state.step, max(state.logged_step, state.evaluated_step))
        if state.best_step:
            best.load(state)
        record = Record(redact(resolved), setup, state, folder, signature, tracker, history)
    errors: list[UserError] = []  # of this rank's data
    images_and_labels = train_batches(
        setup.splits["train"],
        setup.train_transform,
        batch_size=options.batch_size,
        seed=config.seed,
        start=state.step,
        stop=setup.total_steps,
        workers=setup.workers,
        rank=ranks.rank,
        size=ranks.size,
    )
    batches = until_error(on_device(images_and_labels, setup.device), errors)
    setup.model.train()
    forward = ranks.wrap(setup.model)
    next_save = time.monotonic() + 60 * options.checkpoint_every_min

    with record, profiler(options.profile, folder, setup) as profile:
        while True:
            epoch_ended = state.step % setup.steps_per_epoch == 0 and state.step > 0
            if epoch_ended and state.evaluated_step < state.step:
                metrics = _evaluate(setup, "val", signals)
                if metrics is not None:  # None: a signal came first; the resumed run evaluates
                    state.note(metrics)
                    record.evaluation(state, metrics)
                    if state.best_step == state.step and ranks.is_first:
                        best.save(state, metrics)
            if _is_untested(state):
                metrics = _test(setup, best, state, signals)
                if metrics is not None:
                    state.tested_step, state.test = state.step, metrics
                    record.test(state, metrics)

            state.is_done = state.evaluated_step == setup.total_steps and not _is_untested(state)
            due = time.monotonic() >= next_save or (
                options.checkpoint_every_steps is not None
                and state.step % options.checkpoint_every_steps == 0
                and state.step > 0
            )
            stop, save, lost = ranks.maximum(
                signals.exit_code or 0, signals.save or due, signals.lost
            )
            if stop:  # never reset: a signal may have come since
                signals.exit_code = stop
            if lost:
                signals.lost = True
                return state
            if state.is_done or stop or save:
                signals.save = False  # before saving: another may come meanwhile
                _require_finite(state)
                values = state.state_dict() | described | {"history": history.state_dict()}
                saved = ranks.first(partial(checkpoints.save, state.step, values))
                if not saved and (state.is_done or stop):
                    raise UserError(
                        f"step {state.step} could not be saved in {folder.checkpoints}",
                        "a disk with room; the last whole checkpoint stands",
                        "the same command, which goes on from there",
                    )
                record.saved(state, signals.sigterm_at)
                next_save = time.monotonic() + 60 * (
                    options.checkpoint_every_min if saved else RETRY_MIN
                )
            if state.is_done and ranks.is_first:
                history.rebuild(state.step)
                state.best_is_lost = best.load(state) is None
            if state.is_done or stop:
                return state

            batch = next(batches, None)
            ranks.agree(errors)
            images, labels = batch
            lr = set_lr(setup.optimizer, setup.factor(state.step))
            state.loss_sum += backward(options, setup, forward, images, labels, state.step)
            ends = (state.step + 1) % setup.steps_per_epoch == 0
            logs = ends or (state.step + 1) % options.log_every_steps == 0
            grad_norm = update(setup, options.clip_norm, measure=logs)
            state.step += 1

            if logs:
                loss = _mean_loss(state)
                state.trained = {"train/loss": loss, "train/grad_norm": grad_norm.item(), "lr": lr}
                record.training(state, state.trained)
            else:
                record.step(state)
            profile.step()


def _evaluate(setup: Setup, split: str, signals: Signals, model: nn.Module | None = None) -> Any:
    """Returns the metrics of a split, `<split>/loss` and so on, of the model and of its EMA.

    Returns None where a signal came first.
    """
    metrics: dict[str, float] = {}
    models = {f"{split}/": model or setup.model, f"{split}/ema_": None if model else setup.ema}
    for prefix, each in models.items():
        if each is None:
            continue
        batches = eval_batches(
            setup.splits[split],
            setup.eval_transform,
            workers=setup.workers,
            rank=setup.ranks.rank,
            size=setup.ranks.size,
        )
        found = evaluate(
            each,
            batches,
            setup.normalize,
            device=setup.device,
            precision=setup.precision,
            ranks=setup.ranks,
            interrupted=lambda: signals.wants_stop,
        )
        if found is None:
            return None
        metrics |= {prefix + name: value for name, value in found.items()}
    return metrics


def _is_untested(state: TrainState) -> bool:
    """Whether training is over and the test split, if there is one, is yet to be evaluated."""
    over = state.evaluated_step == state.setup.total_steps
    return over and "test" in state.setup.splits and state.tested_step < state.step


def _test(setup: Setup, best: Best, state: TrainState, signals: Signals) -> dict[str, float] | None:
    """Return the test split's metrics of the last weights, and as `test/best_*` of the best.

    Return None where a signal came first. Best weights that are lost have no metrics.
    """
    metrics = _evaluate(setup, "test", signals)
    weights = setup.ranks.first(lambda: best.load(state))
    if metrics is None or weights is None:
        return metrics
    model = copy.deepcopy(setup.model)
    model.load_state_dict(weights["model"])
    of_best = _evaluate(setup, "test", signals, model)
    if of_best is None:
        return None
    return metrics | {name.replace("/", "/best_"): value for name, value in of_best.items()}


def _mean_loss(state: TrainState) -> float:
    """Returns the mean loss since the last log line, and begins the next mean."""
    mean = state.setup.ranks.sum(state.loss_sum).item() / (state.step - state.logged_step)
    if not math.isfinite(mean):
        raise NonFinite(f"the loss became {mean}", state)
    state.loss_sum.zero_()
    state.logged_step = state.step
    return mean


def _require_finite(state: TrainState) -> None:
    """Keeps a broken state from becoming a checkpoint."""
    if not state.is_finite():
        raise NonFinite("the loss or a weight stopped being finite", state)
