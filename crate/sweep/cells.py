"""The points of a sweep with their results: one cell for the runs that differ only by seed."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from crate.config.schema import Objective
from crate.run.folder import RunFolder
from crate.sweep.define.swept import is_baseline
from crate.sweep.select import Selection
from crate.sweep.state import RunState
from crate.sweep.stored.manifest import Manifest


@dataclass
class Cell:
    """The runs of one point that differ by their seed alone; values are of finished runs."""

    swept: dict[str, Any]
    last: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    chosen_on: set[str] = field(default_factory=set)
    sources: set[tuple[str, str]] = field(default_factory=set)  # fingerprint, precision
    runs: int = 0
    published: float | None = None
    is_baseline: bool = False

    @property
    def mixed(self) -> str:
        """Name what the runs of this cell do not share, of code and precision; "" for nothing."""
        fingerprints, precisions = {code for code, _ in self.sources}, {p for _, p in self.sources}
        mixed = {"code": len(fingerprints) > 1, "precision": len(precisions) > 1}
        return "+".join(name for name, is_mixed in mixed.items() if is_mixed)

    def to_json(self, metric: str) -> dict[str, Any]:
        """Return the cell as one flat row of JSON values; `metric` is that of its values."""
        (last, last_se), (best, best_se) = mean_and_error(self.last), mean_and_error(self.best)
        return {
            **self.swept,
            "metric": metric,
            "n": len(self.last),
            "runs": self.runs,
            "last": last,
            "last_se": last_se,
            "best": best,
            "best_se": best_se,
            "best_chosen_on": " / ".join(sorted(self.chosen_on)),
            "published": self.published,
            "mixed": self.mixed,
        }


def objective_of(selection: Selection) -> Objective:
    """Return what a sweep compares by: its own metric if it names one, or its runs' objective."""
    metric, states = selection.manifest.metric, selection.states.values()
    objectives = [state.status.compared_by for state in states if state.path is not None]
    same = [each for each in objectives if metric in (None, each.metric)]
    return same[0] if same else Objective(metric) if metric else Objective()


def collect(selection: Selection) -> list[Cell]:
    """Return the cells of a selection in the sweep's order, with what is finished of each."""
    manifest, objective = selection.manifest, objective_of(selection)
    cells: dict[str, Cell] = {}
    for key, swept in selection.swept.items():
        values = {name: value for name, value in swept.items() if name != "seed"}
        cell = cells.setdefault(json.dumps(values, sort_keys=True), Cell(values))
        cell.runs += 1
        cell.is_baseline = is_baseline(manifest.baseline, values)
        cell.published = _published(values, manifest, objective.metric)
        if selection.states[key].state == "finished":
            _add(cell, selection.states[key], objective)
    return list(cells.values())


def _add(cell: Cell, state: RunState, objective: Objective) -> None:
    measured = last_and_best(state, objective)
    if measured is None:
        return
    cell.last.append(measured[0])
    cell.best.append(measured[1])
    cell.chosen_on.add(state.status.best_chosen_on or "?")
    meta = RunFolder(state.path).meta
    cell.sources.add((meta.fingerprint or "?", meta.auto.get("precision", "?")))


def last_and_best(state: RunState, objective: Objective) -> tuple[float, float] | None:
    """Return the last and the best value of a metric in a run; None if it has none."""
    if objective == state.status.compared_by:
        last, best = state.status.last, state.status.best
        return None if last is None or best is None else (last, best)
    if state.path is None:
        return None
    values = [row.get(objective.metric) for row in RunFolder(state.path).read_metrics()]
    values = [value for value in values if isinstance(value, (int, float))]
    best = objective.best(values)
    return None if best is None else (values[-1], best)


def best_run(selection: Selection) -> tuple[str, float] | None:
    """Return the signature and the value of the finished run with the best metric, if any."""
    objective = objective_of(selection)
    finished = selection.in_states("finished")
    measured = {key: last_and_best(selection.states[key], objective) for key in finished}
    values = {key: each[1] for key, each in measured.items() if each and not math.isnan(each[1])}
    if not values:
        return None
    best = (min if objective.is_least else max)(values, key=values.__getitem__)
    return best, values[best]


def _published(swept: dict[str, Any], manifest: Manifest, metric: str) -> float | None:
    """Return the published result of the point, if the sweep's file has one."""
    for row in manifest.published or []:
        if {key: value for key, value in row.items() if key != metric} == swept:
            return row.get(metric)
    return None


def mean_and_error(values: list[float]) -> tuple[float | None, float | None]:
    """Return the mean, and its standard error where there are two values or more."""
    if not values:
        return None, None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error
