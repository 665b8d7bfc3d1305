"""Evaluations at the end of an epoch and at the end of training."""

from __future__ import annotations

import copy

from crate.train.archive.archive import Archive
from crate.train.evaluation.batches import Interrupted
from crate.train.evaluation.evaluator import TEST, evaluate
from crate.train.setup import Setup
from crate.train.signals import Signals
from crate.train.state import TrainState


def evaluate_if_due(setup: Setup, state: TrainState, archive: Archive, signals: Signals) -> None:
    """At the end of an epoch, run the evaluators that are due, and keep the weights if best.

    Do nothing if a signal comes first: the resumed run evaluates.
    """
    steps, metrics = setup.steps, dict[str, float]()
    if not steps.ends_epoch(state.step) or state.evaluated_step == state.step:
        return
    try:
        for evaluator in setup.evaluators:
            if evaluator.is_due(steps.epoch(state.step), steps.epochs):
                models = setup.learner.models()
                metrics |= evaluate(evaluator, models, setup.images, lambda: signals.wants_stop)
    except Interrupted:
        return
    state.note(metrics)
    archive.record.evaluation(state, metrics)
    if state.best_step == state.step and setup.ranks.is_first:
        archive.best.save(state, metrics)


def test_if_due(setup: Setup, state: TrainState, archive: Archive, signals: Signals) -> None:
    """After the last epoch, measure the last and the best weights on the test split, if any.

    The latter are `test/best_...`, and `test/best_ema_...` if the objective is a metric of the
    running mean; best weights that are lost have none. Do nothing if a signal comes first.
    """
    if not is_untested(setup, state):
        return
    try:
        metrics = _test(setup, state, archive, signals)
    except Interrupted:
        return
    state.tested_step, state.test = state.step, metrics
    archive.record.test(state, metrics)


def is_untested(setup: Setup, state: TrainState) -> bool:
    """Return whether training is over and the test split, if there is one, is not measured."""
    is_over = state.evaluated_step == setup.steps.total
    return is_over and "test" in setup.images.splits and state.tested_step < state.step


def is_done(setup: Setup, state: TrainState) -> bool:
    """Return whether the last step is made, and everything is evaluated."""
    return state.evaluated_step == setup.steps.total and not is_untested(setup, state)


def _test(setup: Setup, state: TrainState, archive: Archive, signals: Signals) -> dict[str, float]:
    metrics = evaluate(TEST, setup.learner.models(), setup.images, lambda: signals.wants_stop)
    best = setup.ranks.first(lambda: archive.best.load(state))
    if best is None:
        return metrics
    weights = {"best_": best["model"]}
    if "/ema_" in state.objective.metric:  # the running mean was chosen
        weights["best_ema_"] = best["ema"]
    model = copy.deepcopy(setup.learner.model)
    for prefix, values in weights.items():
        model.load_state_dict(values)
        metrics |= evaluate(TEST, {prefix: model}, setup.images, lambda: signals.wants_stop)
    return metrics
