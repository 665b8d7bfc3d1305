"""The objective: its direction, which metrics are allowed, and whether it changes the signature."""

from __future__ import annotations

import math

import pytest

from crate.config.check import typed
from crate.config.schema import Objective, Sweep
from crate.config.signature import shape, signature
from crate.errors import UserError


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ("val/top1", "max"),
        ("val/ema_top1", "max"),
        ("knn/accuracy", "max"),
        ("val/loss", "min"),
        ("val/ema_loss", "min"),
        ("train/loss", "min"),
    ],
)
def test_losses_are_minimised_and_all_others_maximised(metric, goal):
    objective = Objective(metric)
    assert objective.goal == goal and objective == Objective(metric, goal)
    opposite = Objective(metric, "max" if goal == "min" else "min")
    assert opposite.goal != goal and opposite != objective


def test_the_best_value_is_strictly_better_than_every_one_before():
    largest, smallest = Objective("val/top1"), Objective("val/loss")
    values = [3.0, math.nan, 1.0, 4.0, 4.0, 2.0]
    for objective, best, at in ((largest, 4.0, 3), (smallest, 1.0, 2)):
        assert objective.best(values) == best
        kept, step = objective.worst, None
        for number, value in enumerate(values):
            if objective.is_better(value, kept):
                kept, step = value, number
        assert (kept, step) == (best, at)
    assert largest.best([math.nan]) is None and largest.best([]) is None


def test_another_objective_is_another_run_of_the_same_cost(composed):
    default = typed(composed())
    assert default.objective == Objective()
    same = typed(composed("objective.direction=max"))
    other = typed(composed("objective.metric=val/loss"))
    explicit = typed(composed("objective.metric=val/loss", "objective.direction=min"))
    assert signature(default) == signature(same) != signature(other) == signature(explicit)
    assert shape(default) == shape(other)


@pytest.mark.parametrize("metric", ["val/loss", "val/top5", "train/loss", "train/grad_norm"])
def test_every_built_in_metric_can_be_the_objective(composed, metric):
    assert typed(composed(f"objective.metric={metric}")).objective.metric == metric


def test_the_running_mean_can_decide_where_there_is_one(composed):
    ema = "objective.metric=val/ema_top1"
    assert typed(composed(ema, "train.ema=0.9")).objective.split == "val"
    with pytest.raises(UserError, match="train.ema is null") as error:
        typed(composed(ema))
    assert error.value.fix == "train.ema=0.999"


@pytest.mark.parametrize(
    ("metric", "fix"), [("val/top11", "val/top1"), ("vall/loss", "val/loss"), ("top5", "val/top5")]
)
def test_a_metric_that_is_never_logged_is_refused_with_those_that_are(composed, metric, fix):
    with pytest.raises(UserError, match=f"objective.metric={metric} is not logged") as error:
        typed(composed(f"objective.metric={metric}"))
    assert error.value.fix == f"objective.metric={fix}"
    assert {"val/loss", "val/top1", "val/top5", "train/loss"} <= {*error.value.allowed.split(", ")}


def test_choosing_on_the_test_split_is_refused(composed):
    with pytest.raises(UserError, match="on the test split") as error:
        typed(composed("objective.metric=test/top1", "data.val_fraction=0.1"))
    assert error.value.fix == "objective.metric=val/top1"


def test_an_evaluator_of_the_user_may_log_the_objective(composed):
    own = "+evaluators.knn._target_=builtins.dict"
    assert typed(composed(own, "objective.metric=knn/top1")).objective.metric == "knn/top1"
    with pytest.raises(UserError, match="is not logged"):
        typed(composed("objective.metric=knn/top1"))


@pytest.mark.parametrize("metric", ["val/top5", "test/top1", "test/best_loss", "images_per_s"])
def test_a_sweep_can_compare_by_any_logged_metric(composed, metric):
    cfg = composed()
    cfg.sweep = Sweep(name="a", question="b", metric=metric)
    assert typed(cfg).sweep.metric == metric


def test_a_sweep_cannot_compare_by_what_is_never_logged(composed):
    cfg = composed()
    cfg.sweep = Sweep(name="a", question="b", metric="accuracy")
    with pytest.raises(UserError, match="sweep.metric=accuracy is not logged"):
        typed(cfg)
