"""The table of a sweep's runs, and how values are written in it."""

from __future__ import annotations

from collections import Counter

from rich.console import Group
from rich.text import Text

from crate.config.label import short_names
from crate.run.console import console
from crate.sweep.define.swept import Values
from crate.sweep.state import RunState
from crate.sweep.terminal.columns import Column, fitted, wrapped

COLORS = {
    "finished": "green",
    "running": "cyan",
    "queued": "dim",
    "new": "dim",
    "stalled": "yellow",
    "stopped": "yellow",
}


def say(text: str, *, style: str = "") -> None:
    """Print text, wrapped between words to the width of the terminal."""
    console.print(Text("\n".join(wrapped(text, console.width)), style=style))


def duration(seconds: float | None) -> str:
    """Return seconds as `45s`, `12m`, `3.4h` or `2.1d`; `-` for None."""
    if seconds is None:
        return "-"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{int(name == 'h')}f}{name}"
    return f"{seconds / 86400:.1f}d"


def swept_columns(swept: list[Values]) -> list[Column]:
    """Return a column for each swept key; `swept` holds the values of each row."""
    names = short_names(key for values in swept for key in values)
    return [
        Column(name, [str(values.get(key, "-")) for values in swept], is_swept=True)
        for key, name in names.items()
    ]


def state_column(states: list[str]) -> Column:
    """Return the column of the states, in their colors."""
    styles = [COLORS.get(state, "red") for state in states]
    return Column("state", states, moves=False, styles=styles)


def table(swept: dict[str, Values], states: dict[str, RunState]) -> Group:
    """Return a table with a row for each run: state, values, progress and metric."""
    rows = [_cells(states[key]) for key in swept]

    def column(name: str, drop: int = 0, *, moves: bool = True) -> Column:
        return Column(name, [row[name] for row in rows], drop, moves, is_right=True)

    columns = [
        state_column([states[key].state for key in swept]),
        *swept_columns(list(swept.values())),
        column("step", drop=3),
        column("img/s", drop=5),
        column("to end", drop=2),
        column("beat", drop=6),
        column("tries", drop=7),
        column("last", drop=4, moves=False),
        column("best", moves=False),
        Column("why", [row["why"] for row in rows], drop=1, is_text=True),
    ]
    return fitted(columns, console.width)


def _cells(state: RunState) -> dict[str, str]:
    """Return the cells of a run's progress and metric, by column."""
    status, at_work = state.status, state.state in ("running", "stalled")
    speed, remaining = status.images_per_s, status.remaining_s
    return {
        "step": f"{status.step}/{status.total_steps}" if status.total_steps else "-",
        "img/s": f"{speed:.0f}" if at_work and speed is not None else "-",
        "to end": duration(remaining if at_work else None),
        "beat": duration(state.beat_age_s if at_work else None),
        "tries": str(status.attempts),
        "last": status.compared_by.text(status.last),
        "best": status.compared_by.text(status.best),
        "why": (state.reason or "").partition("\n")[0],
    }


def counts(states: dict[str, RunState]) -> str:
    """Return `5 finished, 2 running, 1 failed`."""
    numbers = Counter(state.state for state in states.values())
    return ", ".join(f"{number} {name}" for name, number in numbers.most_common())
