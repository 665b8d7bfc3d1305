"""What a sweep found: a row for each point, over its seeds. Imports no torch and no pandas."""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from crate.progress import console
from crate.records import read_json
from crate.runfolder import RunFolder
from crate.sweep.folder import SweepFolder
from crate.sweep.manifest import Manifest
from crate.sweep.select import Selection
from crate.sweep.state import UNFINISHED, RunState
from crate.sweep.table import counts


@dataclass
class Cell:
    """The runs of one point that differ by their seed alone."""

    swept: dict[str, Any]
    last: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    chosen_on: set[str] = field(default_factory=set)
    sources: set[tuple[str, str]] = field(default_factory=set)  # fingerprint, precision
    runs: int = 0
    published: float | None = None

    @property
    def is_mixed(self) -> str:
        """What the runs of this cell do not share, of code and precision; "" for nothing."""
        fingerprints, precisions = {code for code, _ in self.sources}, {p for _, p in self.sources}
        mixed = {"code": len(fingerprints) > 1, "precision": len(precisions) > 1}
        return "+".join(name for name, is_mixed in mixed.items() if is_mixed)


def show_results(sweep: SweepFolder, *, form: str) -> int:
    """Prints the results as a table, "json" or "csv"; 1 where a run has ended unfinished."""
    selection = Selection(sweep, [])
    metric = selection.manifest.metric or "val/top1"
    cells = collect(selection, metric)
    if form == "json":
        print(json.dumps([_plain(cell, metric) for cell in cells], indent=2))
    elif form == "csv":
        rows = [_flat(_plain(cell, metric)) for cell in cells]
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _draw(selection, cells, metric)
    return int(bool(selection.in_states(*UNFINISHED)))


def collect(selection: Selection, metric: str) -> list[Cell]:
    """Returns the cells of a sweep in its order, with what is finished of each."""
    cells: dict[str, Cell] = {}
    for key, swept in selection.swept.items():
        values = {name: value for name, value in swept.items() if name != "seed"}
        cell = cells.setdefault(json.dumps(values, sort_keys=True), Cell(values))
        cell.runs += 1
        if selection.states[key].state == "finished":
            _add(cell, selection.states[key], metric)
    for cell in cells.values():
        cell.published = _published(cell.swept, selection.manifest, metric)
    return list(cells.values())


def _add(cell: Cell, state: RunState, metric: str) -> None:
    last, best = _measured(state, metric)
    cell.last.append(last)
    cell.best.append(best)
    cell.chosen_on.add(state.status.best_chosen_on)
    meta = read_json(state.path / "meta.json")
    cell.sources.add((meta.get("fingerprint", "?"), meta.get("auto", {}).get("precision", "?")))


def _measured(state: RunState, metric: str) -> tuple[float, float]:
    """Returns the last and the best value of a metric; a loss is best where it is least."""
    if metric == "val/top1":
        return state.status.last_top1, state.status.best_top1
    values = [row[metric] for row in RunFolder(state.path).read_metrics() if metric in row]
    if not values:
        return math.nan, math.nan
    return values[-1], min(values) if metric.endswith("loss") else max(values)


def _published(swept: dict[str, Any], manifest: Manifest, metric: str) -> float | None:
    """Returns the published result of the point, if the sweep's file has one."""
    for row in manifest.published or []:
        if {key: value for key, value in row.items() if key != metric} == swept:
            return row.get(metric)
    return None


def _mean(values: list[float]) -> tuple[float | None, float | None]:
    """Returns the mean, and its standard error where there are two values or more."""
    if not values:
        return None, None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def _plain(cell: Cell, metric: str) -> dict[str, Any]:
    (last, last_se), (best, best_se) = _mean(cell.last), _mean(cell.best)
    return {
        **cell.swept,
        "metric": metric,
        "n": len(cell.last),
        "runs": cell.runs,
        "last": last,
        "last_se": last_se,
        "best": best,
        "best_se": best_se,
        "best_chosen_on": " / ".join(sorted(cell.chosen_on)),
        "published": cell.published,
        "mixed": cell.is_mixed,
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {key: "" if value is None else value for key, value in row.items()}


def _draw(selection: Selection, cells: list[Cell], metric: str) -> None:
    manifest = selection.manifest
    if manifest.question:
        console.print(f"[bold]{escape(manifest.question)}[/]")
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    keys = list(dict.fromkeys(key for cell in cells for key in cell.swept))
    for key in keys:
        drawn.add_column(key)
    for name in ("n", f"last {metric}", "best", "published"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("")
    baseline = manifest.baseline or {}
    for cell in cells:
        is_baseline = bool(baseline) and all(cell.swept.get(k) == v for k, v in baseline.items())
        notes = [f"mixed {cell.is_mixed}"] if cell.is_mixed else []
        notes += ["baseline"] if is_baseline else []
        drawn.add_row(
            *(escape(str(cell.swept.get(key, "-"))) for key in keys),
            f"{len(cell.last)}/{cell.runs}" if len(cell.last) < cell.runs else str(cell.runs),
            _words(cell.last),
            _words(cell.best),
            "-" if cell.published is None else f"{cell.published:g}",
            ", ".join(notes),
        )
    console.print(drawn)
    chosen = sorted(set().union(*(cell.chosen_on for cell in cells)))
    if chosen:
        console.print(f"mean +- standard error over seeds; best chosen on {' / '.join(chosen)}")
    if manifest.source and any(cell.published is not None for cell in cells):
        console.print(f"published: {escape(manifest.source)}")
    console.print(f"{selection.sweep.path.name}: {counts(selection.states)}")


def _words(values: list[float]) -> str:
    mean, error = _mean(values)
    if mean is None:
        return "-"
    return f"{mean:.2f}" if error is None else f"{mean:.2f} +- {error:.2f}"
