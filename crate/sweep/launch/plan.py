"""The plan of a launch: each run's size, work and device-hours, before anything starts."""

from __future__ import annotations

from crate.cost import Cost
from crate.run.console import console
from crate.sweep.launch.budget import check_budget
from crate.sweep.launch.estimate import Estimate, estimates
from crate.sweep.launch.pending import Pending
from crate.sweep.launchers.launcher import AnyLauncher
from crate.sweep.terminal.columns import Column, fitted
from crate.sweep.terminal.table import counts, say, state_column, swept_columns


def say_plan(pending: Pending, launcher: AnyLauncher) -> None:
    """Print every run with its cost, and the sum; start nothing.

    Raise UserError if the sum is beyond `budget_h`.
    """
    priced, points = estimates(pending, launcher), pending.points
    wholes, needs = [whole for whole, _ in priced.values()], [need for _, need in priced.values()]
    columns = [
        state_column([pending.states[key].state for key in points]),
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
    say(f"{len(points)} runs: {counts(pending.states)}")
    say(_sum([need for need in needs if need is not None]))
    if launcher.options.budget_h is not None:
        check_budget(priced, launcher.options.budget_h)


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
