"""What a launch prints before its runs begin."""

from __future__ import annotations

import logging
from pathlib import Path

from crate.errors import shorten
from crate.sweep.launchers.launcher import AnyLauncher

logger = logging.getLogger("crate")


def say_ignored(launcher: AnyLauncher, typed: list[str]) -> None:
    """Name the options of other launchers that this one ignores; `typed` are the overrides."""
    if names := launcher.ignored(typed):
        logger.warning("hydra/launcher=%s ignores %s", launcher.name, ", ".join(names))


def in_words(*, done: int, joined: int, submitted: int, where: str) -> str:
    """Return what a launch does with its points; `where` names the jobs, if any."""
    return f"{done} done, {joined} at work already, {submitted} to run" + (
        f", as {where}" if where else ""
    )


def warn_of_best(finished: list[Path]) -> None:
    """Warn of finished runs whose best weights are gone; their content is checked when read."""
    without = [path.name for path in finished if not (path / "checkpoints" / "best.pt").exists()]
    if without:
        logger.warning(
            "%d finished run(s) without checkpoints/best.pt: %s; a step checkpoint may hold the "
            "same weights, and rerun=true trains anew",
            len(without),
            shorten(without, 3),
        )
