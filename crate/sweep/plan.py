"""What a launch would cost: each run's size, work and device-hours, before anything starts."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from crate.config.errors import UserError
from crate.config.schema import Config
from crate.config.signature import shape
from crate.cost import Cost, cost
from crate.progress import console
from crate.runfolder import RunFolder, runs_by_signature
from crate.sweep.freeze import Point
from crate.sweep.options import Launcher, Slurm
from crate.sweep.state import RunState
from crate.sweep.table import colored, counts, words


@dataclass(frozen=True)
class Estimate:
    """Device-hours that a run still needs, and where the number comes from; None: nothing tells."""

    hours: float | None
    source: str


class History:
    """Finished runs below `outputs`, by shape: device-seconds of an epoch, and on what."""

    def __init__(self, outputs: str, *, in_slurm: bool) -> None:
        self._measured: dict[str, list[tuple[float, str]]] = {}
        for path in runs_by_signature(outputs).values():
            measured = RunFolder(path).status.measured
            if measured and measured.in_slurm == in_slurm:
                found = (measured.device_s_per_epoch, measured.hardware)
                self._measured.setdefault(measured.shape, []).append(found)

    def of(self, config: Config) -> tuple[float, str] | None:
        """Returns the median device-seconds of an epoch, and a text that says of what."""
        found = self._measured.get(shape(config))
        if not found:
            return None
        hardware = ", ".join(sorted({name for _, name in found}))
        seconds = statistics.median(seconds for seconds, _ in found)
        return seconds, f"measured in {len(found)} on {hardware}"


def estimate(
    config: Config, state: RunState, history: History, whole: Cost, options: Launcher
) -> Estimate:
    """Returns what a run still needs: measured, else FLOPs over a stated rate, else its limit."""
    done = state.status.progress
    if (measured := history.of(config)) is not None:
        seconds, source = measured
        return Estimate(seconds * config.train.epochs / 3600 * (1 - done), source)
    if options.tflops is not None and whole.train_flops is not None:
        hours = whole.train_flops / (options.tflops * 1e12) / 3600
        return Estimate(hours * (1 - done), f"FLOPs at {options.tflops:g} TFLOP/s")
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
    """Prints every run with its cost, and the sum; starts nothing.

    Raises UserError where that is beyond `budget_h`.
    """
    found = estimates(points, states, options)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("state", "run", "source"):
        drawn.add_column(name, overflow="fold")
    for name in ("parameters", "PFLOP", "device-h"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for key, point in points.items():
        whole, need = found[key]
        drawn.add_row(
            colored(states[key].state),
            Text(words(point.swept)),
            need.source if need else "",
            f"{whole.num_parameters:,}" if whole.num_parameters else "?",
            f"{whole.train_flops / 1e15:.3g}" if whole.train_flops else "?",
            "" if need is None else "?" if need.hours is None else f"{need.hours:.3g}",
        )
    console.print(drawn)
    needs = [need for _, need in found.values() if need is not None]
    known = [need.hours for need in needs if need.hours is not None]
    unknown = f", and {len(needs) - len(known)} of unknown cost" if len(known) < len(needs) else ""
    console.print(f"{len(points)} runs: {counts(states)}")
    console.print(f"to run: {len(known)}, about {sum(known):.3g} device-hours{unknown}")
    check_budget(found, options)


def _sources(needs: list[Estimate]) -> str:
    return "; ".join(dict.fromkeys(need.source for need in needs))


def _round_up(hours: float) -> str:
    return f"{hours * 1.05:.3g}"
