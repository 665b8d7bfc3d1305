"""The refusal of launches that need more device-hours than `hydra.launcher.budget_h`."""

from __future__ import annotations

from crate.errors import UserError
from crate.sweep.launch.estimate import Estimate, Priced


def check_budget(priced: Priced, budget_h: float) -> None:
    """Raise UserError if a launch needs more device-hours than `budget_h`, or it is not known."""
    needs = [need for _, need in priced.values() if need is not None]
    hours = [need.hours for need in needs if need.hours is not None]
    if len(hours) < len(needs):
        raise UserError(
            f"hydra.launcher.budget_h={budget_h:g}, and the cost of the runs is not known",
            "a rate of the device, or one finished run of that shape",
            "hydra.launcher.tflops=RATE",
        )
    total = sum(hours)
    if total > budget_h:
        raise UserError(
            f"{len(needs)} runs need about {total:.3g} device-hours ({_sources(needs)}), "
            f"more than hydra.launcher.budget_h={budget_h:g}",
            "fewer runs, shorter ones, or a larger budget",
            f"hydra.launcher.budget_h={_round_up(total)}",
        )


def _sources(needs: list[Estimate]) -> str:
    return "; ".join(dict.fromkeys(need.source for need in needs))


def _round_up(hours: float) -> str:
    return f"{hours * 1.05:.3g}"
