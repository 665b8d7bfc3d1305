"""The device-hours that runs still need, from the best available source."""

from __future__ import annotations

from dataclasses import dataclass

from crate.config.schema import Config
from crate.cost import Cost, cost
from crate.data.facts import num_images
from crate.sweep.launch.history import History
from crate.sweep.launch.pending import Pending
from crate.sweep.launchers.launcher import AnyLauncher
from crate.sweep.state import RunState

Priced = dict[str, tuple[Cost, "Estimate | None"]]  # by signature; None: the run needs nothing


@dataclass(frozen=True)
class Estimate:
    """Device-hours that a run still needs, and the source of the number; None: unknown."""

    hours: float | None
    source: str


def estimate(
    config: Config, state: RunState, history: History, whole: Cost, launcher: AnyLauncher
) -> Estimate:
    """Return the device-hours that a run still needs, from the best available source.

    In this order: runs of the same shape, FLOPs over the rate that was typed, runs of another
    shape scaled by FLOPs, the launcher's time limit.
    """
    options = launcher.options
    left = 1 - state.status.progress
    measured = history.of(config)
    if measured is None and options.tflops is not None and whole.train_flops is not None:
        hours = whole.train_flops / (options.tflops * 1e12) / 3600
        return Estimate(hours * left, f"FLOPs at {options.tflops:g} TFLOP/s")
    measured = measured or history.scaled(config, whole)
    if measured is not None:
        seconds, source = measured
        return Estimate(seconds * config.train.epochs / 3600 * left, source)
    if launcher.time_limit_h is not None:
        return Estimate(launcher.devices * launcher.time_limit_h, "time limit")
    return Estimate(None, "nothing measured; hydra.launcher.tflops=RATE")


def estimates(pending: Pending, launcher: AnyLauncher) -> Priced:
    """Return each point's cost, and an estimate for those that are to be run."""
    history, todo = History(pending.outputs, launcher=launcher.name), set(pending.todo)
    priced: Priced = {}
    for key, point in pending.points.items():
        whole, state = cost(point.config, num_images), pending.states[key]
        is_todo = key in todo
        need = estimate(point.config, state, history, whole, launcher) if is_todo else None
        priced[key] = whole, need
    return priced
