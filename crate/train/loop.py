"""The training loop, from top to bottom in one function."""

from __future__ import annotations

from functools import partial

from crate.config.schema import Config
from crate.run.folder import RunFolder
from crate.tracking import Tracker
from crate.train.archive.archive import Archive
from crate.train.due import evaluate_if_due, is_done, test_if_due
from crate.train.finite import mean_loss
from crate.train.hardware.profile import profiler
from crate.train.optimizers.optimizer import set_lr
from crate.train.setup import Setup
from crate.train.signals import Signals
from crate.train.state import TrainState
from crate.train.step import backward, update


def train(
    config: Config,
    setup: Setup,
    folder: RunFolder,
    signature: str,
    tracker: Tracker,
    signals: Signals,
) -> TrainState:
    """Train from the newest checkpoint on, until all is done or a signal comes.

    Return the state, whose `is_done` tells which; all ranks stop at the same step. Raise NonFinite
    if a loss or a weight stops being finite, and UserError for an error in the data.
    """
    options, ranks, steps, learner = config.train, setup.ranks, setup.steps, setup.learner
    state = TrainState(learner, steps, ranks, setup.device, config.objective)
    archive = Archive(config, setup, state, folder, signature, tracker)
    batches = setup.train_batches(start=state.step)
    learner.model.train()
    forward = ranks.wrap(learner.model)

    with (
        archive.record as record,
        profiler(options.profile, folder, ranks, setup.device) as profile,
    ):
        while True:
            evaluate_if_due(setup, state, archive, signals)
            test_if_due(setup, state, archive, signals)
            state.is_done = is_done(setup, state)
            stops, saves, is_lost = signals.agree(ranks, archive.is_due(state.step))
            if is_lost:
                return state
            is_last = state.is_done or stops
            if is_last or saves:
                archive.save(state, required=is_last, sigterm_at=signals.sigterm_at)
            if state.is_done:
                archive.finish(state)
            if is_last:
                return state

            # -------------------------------------------------------------------------------
            # A single training step begins here.
            images, labels = ranks.each(partial(next, batches))
            lr = set_lr(learner.optimizer, setup.factor(state.step))
            state.loss_sum += backward(options, setup, forward, images, labels, state.step)
            ends_epoch = steps.ends_epoch(state.step + 1)
            is_logged = ends_epoch or (state.step + 1) % options.log_every_steps == 0
            grad_norm = update(learner, options.clip_norm, measure=is_logged)
            state.step += 1
            # A single training step ends here.
            # -------------------------------------------------------------------------------

            if is_logged and grad_norm is not None:
                loss = mean_loss(state)
                state.trained = {"train/loss": loss, "train/grad_norm": grad_norm.item(), "lr": lr}
                record.training(state, state.trained)
            else:
                record.step(state)
            profile.step()
