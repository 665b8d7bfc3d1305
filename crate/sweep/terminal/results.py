"""The table of a sweep's results: a row for each point, over its seeds."""

from __future__ import annotations

from rich.text import Text

from crate.config.schema.objective import Objective
from crate.run.console import console
from crate.sweep.define.swept import as_words
from crate.sweep.results import Cell, Results, mean_and_error
from crate.sweep.terminal.columns import Column, fitted
from crate.sweep.terminal.table import say, swept_columns


def draw_results(results: Results) -> None:
    """Print the sweep's question, the table of its points, and its best run."""
    cells, objective = results.cells, results.objective
    if results.question:
        say(results.question, style="bold")
    console.print(fitted(_columns(cells, objective), console.width))
    chosen_on = sorted({data for cell in cells for data in cell.chosen_on})
    if chosen_on:
        is_over_seeds = any(len(cell.finished) > 1 for cell in cells)
        over_seeds = "mean +- standard error over seeds; " if is_over_seeds else ""
        say(f"{over_seeds}best chosen on {' / '.join(chosen_on)}")
    if results.source and any(cell.published is not None for cell in cells):
        say(f"published: {results.source}")
    if (best := results.best_run) is not None:
        value = f"{objective.metric} {objective.text(best.best)}"
        say(f"best run: {as_words(best.swept)}, {value}")
        console.print(Text(f"  {best.folder}"))


def _columns(cells: list[Cell], objective: Objective) -> list[Column]:
    def column(name: str, cells: list[str], drop: int = 0) -> Column:
        return Column(name, cells, drop=drop, moves=drop > 0, is_right=True)

    return [
        *swept_columns([cell.swept for cell in cells]),
        column("n", [_number_of_runs(cell) for cell in cells]),
        column(f"last {objective.metric}", [_mean(cell.last, objective) for cell in cells]),
        column("best", [_mean(cell.best, objective) for cell in cells]),
        column("published", [_published(cell) for cell in cells], drop=1),
        Column("", [_notes(cell) for cell in cells], moves=False),
    ]


def _number_of_runs(cell: Cell) -> str:
    """Return `3`, or `2/3` if a run has no result."""
    finished = len(cell.finished)
    return str(cell.runs) if finished == cell.runs else f"{finished}/{cell.runs}"


def _mean(values: list[float], objective: Objective) -> str:
    """Return `71.50 +- 0.50`; without the error of one value; `-` of none."""
    mean, error = mean_and_error(values)
    text = objective.text(mean)
    return text if error is None else f"{text} +- {objective.text(error)}"


def _published(cell: Cell) -> str:
    return "-" if cell.published is None else f"{cell.published:g}"


def _notes(cell: Cell) -> str:
    notes = [f"mixed {cell.mixed}"] if cell.mixed else []
    return ", ".join(notes + ["baseline"] * cell.is_baseline)
