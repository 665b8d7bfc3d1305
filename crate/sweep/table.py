"""The runs of a sweep as lines of text, for `status` and for launchers that wait."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table
from rich.text import Text

from crate.sweep.state import RunState

COLORS = {
    "finished": "green",
    "running": "cyan",
    "queued": "dim",
    "new": "dim",
    "stalled": "yellow",
    "stopped": "yellow",
}


def words(swept: dict[str, Any]) -> str:
    """Returns swept values as `sparsity=0.1 seed=0`."""
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in swept.items()) or "-"


def duration(seconds: float | None) -> str:
    """Returns seconds as `45s`, `12m`, `3.4h` or `2.1d`; `-` for None."""
    if seconds is None:
        return "-"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{int(name == 'h')}f}{name}"
    return f"{seconds / 86400:.1f}d"


def table(swept: dict[str, dict[str, Any]], states: dict[str, RunState]) -> Table:
    """Returns one row a run: state, step, speed, time to end, heartbeat, attempts, metric."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("state")
    drawn.add_column("run", no_wrap=True, overflow="fold")
    for name in ("step", "img/s", "to end", "beat", "tries", "last", "best"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("why", overflow="fold")
    for key, values in swept.items():
        drawn.add_row(*row(values, states[key]))
    return drawn


def row(values: dict[str, Any], state: RunState) -> list[str | Text]:
    """Returns a run's cells."""
    status, at_work = state.status, state.state in ("running", "stalled")
    step = f"{status.step}/{status.total_steps}" if status.total_steps else "-"
    speed, remaining = status.images_per_s, status.remaining_s
    beat = state.beat_age_s if at_work else None
    return [
        colored(state.state),
        Text(words(values)),
        step,
        f"{speed:.0f}" if at_work and speed is not None else "-",
        duration(remaining if at_work else None),
        duration(beat),
        str(status.attempts),
        _percent(status.last_top1),
        _percent(status.best_top1),
        Text((state.reason or "").partition("\n")[0]),
    ]


def colored(state: str) -> Text:
    """Returns a state's name in its color."""
    return Text(state, style=COLORS.get(state, "red"))


def counts(states: dict[str, RunState]) -> str:
    """Returns `5 finished, 2 running, 1 failed`."""
    found = Counter(state.state for state in states.values())
    return ", ".join(f"{number} {name}" for name, number in found.most_common())


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
