"""The results of a sweep: read from its run folders, and grouped by point over seeds.

Collecting prints nothing and needs neither torch nor a terminal.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crate.config.schema.objective import Objective
from crate.run.folder import RunFolder
from crate.run.status import Status
from crate.sweep.define.swept import Values, is_baseline
from crate.sweep.select import Selection
from crate.sweep.stored.manifest import Manifest

UNKNOWN = "?"


@dataclass(frozen=True)
class RunResult:
    """The result of one finished run; `swept` includes its seed if that varies.

    `chosen_on` is the data by which the best weights were chosen, `code` the fingerprint of the
    code that trained them.
    """

    swept: Values
    folder: Path
    last: float
    best: float
    chosen_on: str
    code: str
    precision: str


@dataclass
class Cell:
    """One point of a sweep over its seeds; `swept` are its values without the seed.

    `runs` counts the runs that were asked for, `finished` holds those with a result.
    """

    swept: Values
    published: float | None
    is_baseline: bool
    runs: int = 0
    finished: list[RunResult] = field(default_factory=list)

    @property
    def last(self) -> list[float]:
        """The metric at the end of each finished run."""
        return [run.last for run in self.finished]

    @property
    def best(self) -> list[float]:
        """The best value of the metric in each finished run."""
        return [run.best for run in self.finished]

    @property
    def chosen_on(self) -> list[str]:
        """The data by which the best weights were chosen."""
        return sorted({run.chosen_on for run in self.finished})

    @property
    def mixed(self) -> str:
        """What differs between the runs: "code", "precision", "code+precision" or ""."""
        kinds = {
            "code": {run.code for run in self.finished},
            "precision": {run.precision for run in self.finished},
        }
        return "+".join(name for name, values in kinds.items() if len(values) > 1)

    def to_json(self, metric: str) -> dict[str, Any]:
        """Return the cell as one flat row of JSON values; `metric` is the name of its values."""
        (last, last_se), (best, best_se) = mean_and_error(self.last), mean_and_error(self.best)
        return {
            **self.swept,
            "metric": metric,
            "n": len(self.finished),
            "runs": self.runs,
            "last": last,
            "last_se": last_se,
            "best": best,
            "best_se": best_se,
            "best_chosen_on": " / ".join(self.chosen_on),
            "published": self.published,
            "mixed": self.mixed,
        }


@dataclass(frozen=True)
class Results:
    """The results of a selection: its cells in the sweep's order, compared by `objective`."""

    objective: Objective
    question: str | None
    source: str | None  # of the published results
    cells: list[Cell]

    @property
    def best_run(self) -> RunResult | None:
        """The finished run with the best value; None if there is no value but NaN."""
        runs = [run for cell in self.cells for run in cell.finished if not math.isnan(run.best)]
        value = self.objective.best(run.best for run in runs)
        return next((run for run in runs if run.best == value), None)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row of JSON values for each cell."""
        return [cell.to_json(self.objective.metric) for cell in self.cells]


def collect(selection: Selection) -> Results:
    """Return the results of the finished runs of a selection."""
    manifest, objective = selection.manifest, objective_of(selection)
    cells: dict[str, Cell] = {}
    for key, swept in selection.swept.items():
        point = {name: value for name, value in swept.items() if name != "seed"}
        name = json.dumps(point, sort_keys=True)
        if name not in cells:
            published = _published(point, manifest, objective.metric)
            cells[name] = Cell(point, published, is_baseline(manifest.baseline, point))
        cells[name].runs += 1
        state = selection.states[key]
        if state.state == "finished" and state.path is not None:
            result = _result(swept, state.path, state.status, objective)
            cells[name].finished += [result] if result else []
    return Results(objective, manifest.question, manifest.source, list(cells.values()))


def objective_of(selection: Selection) -> Objective:
    """Return what a sweep compares by: the metric that it names, or the objective of its runs.

    If the runs have several objectives, that of the first one counts for all.
    """
    metric, states = selection.manifest.metric, selection.states.values()
    begun = [state.status.compared_by for state in states if state.status.last is not None]
    objectives = [each for each in begun if metric in (None, each.metric)]
    if objectives:
        return objectives[0]
    return Objective() if metric is None else Objective(metric)


def _result(swept: Values, folder: Path, status: Status, objective: Objective) -> RunResult | None:
    """Return the result of a finished run; None if it did not log the metric."""
    values = _last_and_best(folder, status, objective)
    if values is None:
        return None
    meta = RunFolder(folder).meta
    return RunResult(
        swept=swept,
        folder=folder,
        last=values[0],
        best=values[1],
        chosen_on=status.best_chosen_on or UNKNOWN,
        code=meta.fingerprint or UNKNOWN,
        precision=str(meta.auto.get("precision", UNKNOWN)),
    )


def _last_and_best(
    folder: Path, status: Status, objective: Objective
) -> tuple[float, float] | None:
    """Return the last and the best value of a metric in a run; None if it was not logged."""
    if objective == status.compared_by:
        last, best = status.last, status.best
    else:
        logged = (row.get(objective.metric) for row in RunFolder(folder).read_metrics())
        values = [float(value) for value in logged if isinstance(value, int | float)]
        last, best = (values[-1] if values else None), objective.best(values)
    return None if last is None or best is None else (last, best)


def _published(swept: Values, manifest: Manifest, metric: str) -> float | None:
    """Return the published result of a point, if the sweep's file has one."""
    for row in manifest.published or []:
        if {key: value for key, value in row.items() if key != metric} == swept:
            return row.get(metric)
    return None


def mean_and_error(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Return the mean, None of no value, and its standard error, None of less than two values."""
    values = list(values)
    if not values:
        return None, None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error
