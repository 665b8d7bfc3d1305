"""What a launch would cost: each run's size, work and device-hours, before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from crate.config.schema import Config
from crate.cost import Cost, cost
from crate.errors import UserError
from crate.run.console import console
from crate.sweep.define.freeze import Point
from crate.sweep.launch.history import History
from crate.sweep.options import Launcher, Slurm
from crate.sweep.state import RunState
from crate.sweep.terminal.columns import Column, fitted
from crate.sweep.terminal.table import counts, say, state_column, swept_columns


@dataclass(frozen=True)
class Estimate:
    """Device-hours that a run still needs, and the source of the number; None: unknown."""

    hours: float | None
    source: str


def estimate(
    config: Config, state: RunState, history: History, whole: Cost, options: Launcher
) -> Estimate:
    """Return what a run still needs, from the best source that there is.

    In this order: runs of the same shape, FLOPs over the rate that was typed, runs of another
    shape scaled by FLOPs, Slurm's time limit.
    """
    left = 1 - state.status.progress
    measured = history.of(config)
    if measured is None and options.tflops is not None and whole.train_flops is not None:
        hours = whole.train_flops / (options.tflops * 1e12) / 3600
        return Estimate(hours * left, f"FLOPs at {options.tflops:g} TFLOP/s")
    measured = measured or history.scaled(config, whole)
    if measured is not None:
        seconds, source = measured
        return Estimate(seconds * config.train.epochs / 3600 * left, source)
    if isinstance(options, Slurm):
        devices = options.nodes * options.tasks_per_node
        return Estimate(devices * options.timeout_min / 60, "time limit")
    return Estimate(None, "nothing measured; hydra.launcher.tflops=RATE")


def estimates(
    points: dict[str, Point], states: dict[str, RunState], options: Launcher
) -> dict[str, tuple[Cost, Estimate | None]]:
    """Returns each point's cost, and an estimate for those that are to be run."""
    outputs = next(iter(points.values())).config.outputs
    history = History(outputs, in_slurm=isinstance(options, Slurm))
    found = {}
    for key, point in points.items():
        whole, state = cost(point.config), states[key]
        todo = not state.is_active and state.state != "finished"
        need = estimate(point.config, state, history, whole, options) if todo else None
        found[key] = whole, need
    return found


def check_budget(found: dict[str, tuple[Cost, Estimate | None]], options: Launcher) -> None:
    """Raises UserError where a launch needs more than `budget_h`, or nobody can say."""
    if options.budget_h is None:
        return
    needs = [need for _, need in found.values() if need is not None]
    if any(need.hours is None for need in needs):
        raise UserError(
            f"hydra.launcher.budget_h={options.budget_h:g}, and nothing tells what the runs need",
            "a rate of the device, or one finished run of that shape",
            "hydra.launcher.tflops=RATE",
        )
    total = sum(need.hours for need in needs)
    if total > options.budget_h:
        raise UserError(
            f"{len(needs)} runs need about {total:.3g} device-hours ({_sources(needs)}), "
            f"more than hydra.launcher.budget_h={options.budget_h:g}",
            "fewer runs, shorter ones, or a larger budget",
            f"hydra.launcher.budget_h={_round_up(total)}",
        )


def say_plan(points: dict[str, Point], states: dict[str, RunState], options: Launcher) -> None:
    """Print every run with its cost, and the sum; start nothing.

    Raises UserError where that is beyond `budget_h`.
    """
    found = estimates(points, states, options)
    wholes, needs = [whole for whole, _ in found.values()], [need for _, need in found.values()]
    columns = [
        state_column([states[key].state for key in points]),
        *swept_columns([point.swept for point in points.values()]),
        Column(
            "parameters",
            [f"{whole.num_parameters:,}" if whole.num_parameters else "-" for whole in wholes],
            drop=1,
            is_right=True,
        ),
        Column("PFLOP", [_short(_peta(whole)) for whole in wholes], drop=2, is_right=True),
        Column("device-h", [_short(need.hours if need else None) for need in needs], is_right=True),
        Column("source", [need.source if need else "-" for need in needs], drop=3, is_text=True),
    ]
    console.print(fitted(columns, console.width))
    say(f"{len(points)} runs: {counts(states)}")
    say(_sum([need for need in needs if need is not None]))
    check_budget(found, options)


def _sum(needs: list[Estimate]) -> str:
    """Return `16 to run, about 3.2 device-hours`, or as much of that as is known."""
    known = [need.hours for need in needs if need.hours is not None]
    if not known:
        return f"{len(needs)} to run" + (", cost unknown" if needs else "")
    total = f"{len(needs)} to run, about {sum(known):.3g} device-hours"
    unknown = len(needs) - len(known)
    return f"{total} for {len(known)} of them, cost of {unknown} unknown" if unknown else total


def _peta(whole: Cost) -> float | None:
    return whole.train_flops / 1e15 if whole.train_flops else None


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _sources(needs: list[Estimate]) -> str:
    return "; ".join(dict.fromkeys(need.source for need in needs))


def _round_up(hours: float) -> str:
    return f"{hours * 1.05:.3g}"
