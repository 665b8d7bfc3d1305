"""Results are read from run folders alone: by any metric, in either direction, seed by seed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from crate.config.schema import Objective
from crate.sweep.results import collect, mean_and_error
from crate.sweep.select import Selection
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import Manifest, SweepPoint

# (depth, seed) -> the rows of val/loss, and the top-1 accuracy of status.json
RUNS = {
    (1, 0): ([0.9, 0.5, 0.6], 60.0),
    (1, 1): ([0.8, 0.7, 0.7], 61.5),
    (2, 0): ([0.4, float("nan")], 70.0),
    (2, 1): ([], 71.0),
}


@pytest.fixture
def sweep(tmp_path) -> SweepFolder:
    """Return a sweep of four finished runs, and a fifth that failed."""
    folder = SweepFolder.create(tmp_path, "depth", [])
    points = {}
    for number, ((depth, seed), (losses, top1)) in enumerate(RUNS.items()):
        key = f"{number:012x}"
        run = tmp_path / "runs" / f"crate-{key}"
        run.mkdir(parents=True)
        status = {"version": 2, "state": "finished", "last": top1, "best": top1 + 1}
        (run / "status.json").write_text(json.dumps(status))
        rows = [{"step": step, "val/loss": loss} for step, loss in enumerate(losses)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        points[key] = SweepPoint(overrides=[], swept={"model.depth": depth, "seed": seed})
    failed = "f" * 12
    (tmp_path / "runs" / f"crate-{failed}").mkdir()
    (tmp_path / "runs" / f"crate-{failed}" / "status.json").write_text('{"state": "failed"}')
    points[failed] = SweepPoint(overrides=[], swept={"model.depth": 2, "seed": 2})
    folder.write_manifest(Manifest(name="depth", fixed=[], points=points))
    return folder


def test_results_of_the_runs_objective_come_from_their_status(sweep):
    results = collect(Selection(sweep, []))
    first, second = results.cells
    assert results.objective.metric == "val/top1"
    assert first.last == [60.0, 61.5] and first.best == [61.0, 62.5] and first.runs == 2
    assert second.last == [70.0, 71.0] and second.runs == 3  # the failed run is never averaged in
    assert [run.swept["seed"] for run in second.finished] == [0, 1]
    best = results.best_run
    assert best.best == 72.0 and best.swept == {"model.depth": 2, "seed": 1}
    assert best.folder.name.endswith(f"{3:012x}")


def test_a_sweep_may_compare_by_any_logged_metric(sweep):
    manifest = sweep.manifest
    manifest.metric = "val/loss"
    sweep.write_manifest(manifest)
    results = collect(Selection(sweep, []))
    first, second = results.cells
    assert results.objective.is_least
    assert first.last == [0.6, 0.7] and first.best == [0.5, 0.7]
    assert math.isnan(second.last[0]) and second.best == [0.4]  # the other run did not log it
    assert results.best_run.best == 0.4
    rows = results.rows()
    assert [row["n"] for row in rows] == [2, 1] and [row["runs"] for row in rows] == [2, 3]
    assert {row["metric"] for row in rows} == {"val/loss"}


def test_a_sweep_without_a_metric_compares_by_the_objective_of_its_runs(sweep):
    folders = sorted((sweep.outputs / "runs").glob("crate-*"))
    (folders[0] / "status.json").write_text('{"state": "queued"}')  # it has no objective yet
    chosen = {"objective": "knn/error", "direction": "min"}
    for number, folder in enumerate(folders[1:4]):
        status = {"version": 2, "state": "finished", "last": 0.5, "best": 0.4 - 0.1 * number}
        (folder / "status.json").write_text(json.dumps(status | chosen))
    results = collect(Selection(sweep, []))
    assert results.objective == Objective("knn/error", "min")
    assert [cell.best for cell in results.cells] == [[0.4], [pytest.approx(0.3), 0.2]]
    assert results.best_run.folder == folders[3]


def test_a_published_row_belongs_to_the_point_with_its_values(sweep):
    manifest = sweep.manifest
    manifest.published = [{"model.depth": 2, "val/top1": 72.0}, {"model.depth": 3, "val/top1": 9}]
    sweep.write_manifest(manifest)
    assert [cell.published for cell in collect(Selection(sweep, [])).cells] == [None, 72.0]


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [0.1, 0.5, 0.2, 7.0]])
def test_the_mean_and_its_standard_error_are_those_of_numpy(values):
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(np.mean(values))
    if len(values) == 1:
        assert error is None
    else:
        assert error == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)))
    assert mean_and_error([]) == (None, None)
