"""The table of a sweep's results: a row for each point, over its seeds."""

from __future__ import annotations

from rich.text import Text

from crate.config.schema.objective import number
from crate.run.console import console
from crate.sweep.cells import Cell, best_run, collect, mean_and_error, objective_of
from crate.sweep.define.swept import as_words
from crate.sweep.select import Selection
from crate.sweep.terminal.columns import Column, fitted
from crate.sweep.terminal.table import say, swept_columns


def draw_results(selection: Selection) -> None:
    """Print the question, the table of a selection's points, and its best run."""
    manifest, cells = selection.manifest, collect(selection)
    metric = objective_of(selection).metric
    if manifest.question:
        say(manifest.question, style="bold")

    def means(values: list[list[float]]) -> list[str]:
        return [_mean(each, metric) for each in values]

    columns = [
        *swept_columns([cell.swept for cell in cells]),
        Column("n", [_n(cell) for cell in cells], is_right=True, moves=False),
        Column(f"last {metric}", means([cell.last for cell in cells]), is_right=True, moves=False),
        Column("best", means([cell.best for cell in cells]), is_right=True, moves=False),
        Column("published", [_published(cell) for cell in cells], drop=1, is_right=True),
        Column("", [_notes(cell) for cell in cells], moves=False),
    ]
    console.print(fitted(columns, console.width))
    chosen = sorted(set().union(*(cell.chosen_on for cell in cells)))
    over_seeds = "mean +- standard error over seeds; " * any(len(cell.last) > 1 for cell in cells)
    if chosen:
        say(f"{over_seeds}best chosen on {' / '.join(chosen)}")
    if manifest.source and any(cell.published is not None for cell in cells):
        say(f"published: {manifest.source}")
    if (best := best_run(selection)) is not None:
        key, value = best
        say(f"best run: {as_words(selection.swept[key])}, {metric} {number(metric, value)}")
        console.print(Text(f"  {selection.states[key].path}"))


def _n(cell: Cell) -> str:
    return str(cell.runs) if len(cell.last) == cell.runs else f"{len(cell.last)}/{cell.runs}"


def _mean(values: list[float], metric: str) -> str:
    mean, error = mean_and_error(values)
    if mean is None:
        return "-"
    spread = "" if error is None else f" +- {number(metric, error)}"
    return f"{number(metric, mean)}{spread}"


def _published(cell: Cell) -> str:
    return "-" if cell.published is None else f"{cell.published:g}"


def _notes(cell: Cell) -> str:
    notes = [f"mixed {cell.mixed}"] if cell.mixed else []
    return ", ".join(notes + ["baseline"] * cell.is_baseline)
