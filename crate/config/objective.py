"""Which metrics a run logs, as far as that is known before it starts, and which may decide."""

from __future__ import annotations

from crate.config.schema import Config
from crate.errors import UserError, nearest, shorten

TRAINING = ("train/loss", "train/grad_norm")
MEASURES = ("loss", "top1", "top5")  # of an evaluation, after the name of its split
OF_A_ROW = ("lr", "images_per_s", "memory_gb", "time_s")  # logged, but no result
OF_TEST = tuple(
    f"test/{prefix}{name}" for prefix in ("", "ema_", "best_", "best_ema_") for name in MEASURES
)


def logged_metrics(config: Config) -> list[str]:
    """Return the metrics that can be the objective, except those of a user's own evaluators."""
    prefixes = ("val/",) if config.train.ema is None else ("val/", "val/ema_")
    return [*(f"{prefix}{name}" for prefix in prefixes for name in MEASURES), *TRAINING]


def objective_errors(config: Config) -> list[UserError]:
    """Return an error if the objective, or what the sweep compares by, is never logged.

    A metric of a user's own evaluator is known only once that evaluator has run.
    """
    errors, logged = [], logged_metrics(config)
    metric = config.objective.metric
    if metric.startswith("test/"):
        errors.append(
            UserError(
                f"objective.metric={metric} would choose the best weights on the test split",
                shorten(logged),
                f"objective.metric={metric.replace('test/', 'val/', 1)}",
            )
        )
    elif not _may_be_logged(metric, logged, config):
        errors.append(_unknown("objective.metric", metric, logged, config))
    compared = config.sweep.metric if config.sweep else None
    logged = [*logged, *OF_A_ROW, *OF_TEST]
    if compared is not None and not _may_be_logged(compared, logged, config):
        errors.append(_unknown("sweep.metric", compared, logged, config))
    return errors


def _may_be_logged(metric: str, logged: list[str], config: Config) -> bool:
    evaluators = getattr(config, "evaluators", {})
    return metric in logged or metric.partition("/")[0] in evaluators


def _unknown(key: str, metric: str, logged: list[str], config: Config) -> UserError:
    if metric.startswith("val/ema_") and config.train.ema is None:
        reason = f"{key}={metric} needs a running mean of the weights, and train.ema is null"
        return UserError(reason, shorten(logged), "train.ema=0.999")
    ranked = nearest(metric, logged)
    return UserError(f"{key}={metric} is not logged", shorten(ranked), f"{key}={ranked[0]}")
