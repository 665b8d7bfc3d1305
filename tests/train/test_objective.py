"""Runs that choose their best weights by another metric than val/top1, and runs of version 1."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from crate.config.schema import Objective
from crate.errors import UserError
from crate.run.folder import RunFolder
from crate.train.archive.curve import draw_curve, panels
from crate.train.hardware.device import SINGLE
from crate.train.state import TrainState
from tests.launching import TINY, launch, metrics, run_folder, start, status, wait_for_step

EPOCHS = 4
RUN = (*TINY, f"train.epochs={EPOCHS}", "optimizer.lr=0.003")


def rows_with(folder, metric):
    return [row for row in metrics(folder) if metric in row]


@pytest.mark.parametrize("metric", ["val/loss", "train/loss", "val/ema_top1"])
def test_the_best_weights_are_those_of_the_objective(tmp_path, metric):
    outputs = tmp_path / "out"
    done = launch(*RUN, "train.ema=0.5", f"objective.metric={metric}", f"outputs={outputs}")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run_folder(outputs)
    ends = {row["step"] for row in rows_with(folder, "val/loss")}
    values = {row["step"]: row[metric] for row in rows_with(folder, metric) if row["step"] in ends}
    assert len(values) == EPOCHS
    best = (min if metric.endswith("loss") else max)(values.values())
    recorded = status(folder)
    assert (recorded["objective"], recorded["best"]) == (metric, best)
    assert (recorded["last"], values[recorded["best_step"]]) == (values[max(values)], best)
    stored = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    assert stored["step"] == recorded["best_step"]
    assert stored["config"]["objective"] == {"metric": metric, "direction": "auto"}
    words = Objective(metric).text(best)
    assert f"best {words} at step {recorded['best_step']}" in done.stdout
    again = launch(*RUN, "train.ema=0.5", f"objective.metric={metric}", f"outputs={outputs}")
    assert "done already" in again.stdout and f"{metric}: last" in again.stdout


def test_the_test_split_measures_the_running_mean_if_that_is_chosen(tmp_path):
    words = ("train.ema=0.5", "objective.metric=val/ema_loss", "data.val_fraction=0.1")
    done = launch(*RUN, *words, f"outputs={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run_folder(tmp_path)
    best = metrics(folder)[-1]["test/best_ema_loss"]
    assert f"best by val/ema_loss {best:.4f}" in done.stdout
    stored = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    torch.save({"model": stored["ema"], "config": stored["config"]}, tmp_path / "mean.pt")
    alone = launch("task=evaluate", f"checkpoint={tmp_path / 'mean.pt'}").stdout
    assert f"val/loss {best:.4f}" in alone, alone


CODE = """
def wrong(model, batches, ranks):
    counts = [(model(images).argmax(1) != labels).sum().item() for images, labels in batches]
    return {"images": sum(counts)}
"""


def test_a_metric_of_the_users_own_evaluator_can_choose_the_best_weights(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)
    own = ("+evaluators.wrong._target_=mine.wrong", "+evaluators.wrong.every_epochs=2")
    words = (*RUN, "train.epochs=5", f"--config-dir={tmp_path}", *own)
    words = (*words, "objective.direction=min", "precision=fp32")
    unknown = launch(*words, "objective.metric=wrong/image", f"outputs={tmp_path / 'unknown'}")
    assert unknown.returncode == 1 and "wrong/image is not logged" in unknown.stderr
    assert "allowed: train/grad_norm, train/loss, val/" in unknown.stderr
    assert "wrong/images" in unknown.stderr
    assert status(run_folder(tmp_path / "unknown"))["step"] == 46
    done = launch(*words, "objective.metric=wrong/images", f"outputs={tmp_path / 'out'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  best -  " in done.stdout and "inf" not in done.stdout  # not measured yet
    folder = run_folder(tmp_path / "out")
    values = {row["step"]: row["wrong/images"] for row in rows_with(folder, "wrong/images")}
    assert [*values] == [46, 92, 115]
    recorded = status(folder)
    assert (recorded["best"], recorded["last"]) == (min(values.values()), values[115])
    stored = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    assert stored["metrics"]["wrong/images"] == values[stored["step"]] == recorded["best"]
    accuracy = stored["metrics"]["val/top1"]
    assert recorded["best"] == round(360 * (1 - accuracy / 100))


def test_the_direction_can_be_turned_and_a_resume_keeps_the_best(tmp_path):
    worst = (*RUN, "objective.direction=min", "train.checkpoint_every_steps=10")
    process = start(*worst, f"outputs={tmp_path}")
    wait_for_step(process, tmp_path, 50)
    process.send_signal(signal.SIGTERM)
    assert process.finish().returncode == 143
    assert launch(*worst, f"outputs={tmp_path}").returncode == 0
    folder = run_folder(tmp_path)
    rows = rows_with(folder, "val/top1")
    recorded = status(folder)
    assert recorded["best"] == min(row["val/top1"] for row in rows) < recorded["last"]
    assert recorded["direction"] == "min" and len(rows) == EPOCHS


def test_a_run_that_version_1_began_is_continued(tmp_path):
    """Version 1 named the values `best_top1` and `last_top1` in checkpoints and status."""
    run = (*RUN, "train.checkpoint_every_steps=46", "train.keep=9", f"outputs={tmp_path}")
    assert launch(*run).returncode == 0
    folder = run_folder(tmp_path)
    whole, ended = metrics(folder), status(folder)
    (folder / "checkpoints" / "step-00000092.pt").unlink()
    file = folder / "checkpoints" / "step-00000046.pt"
    values = torch.load(file, weights_only=True)
    old = {"best_top1": values.pop("best"), "last_top1": values.pop("last")}
    values["config"].pop("objective"), values.pop("trained")
    torch.save(values | old, file)
    kept = {key: ended[key] for key in ("attempts", "step", "total_steps", "heartbeat")}
    (folder / "status.json").write_text(json.dumps({"state": "stopped", **old, **kept}))
    assert RunFolder(folder).status.best == old["best_top1"]
    done = launch(*run)
    assert "going on at step 46" in done.stdout, done.stdout + done.stderr
    timed = ("time_s", "images_per_s", "memory_gb", "remaining_s")
    for before, after in zip(whole, metrics(folder), strict=True):
        assert {k: v for k, v in before.items() if k not in timed} == {
            k: v for k, v in after.items() if k not in timed
        }
    names = ("best", "last", "best_step", "objective", "direction", "version")
    assert [status(folder)[name] for name in names] == [ended[name] for name in names]


class TenSteps:
    total = 10


def test_a_metric_that_its_evaluator_does_not_return_is_refused_after_the_evaluation():
    state = TrainState(None, TenSteps(), SINGLE, torch.device("cpu"), Objective("knn/top1"))
    state.trained, state.step = {"train/loss": 1.0}, 5
    state.note({"val/top1": 1.0})  # an evaluator that did not run at this step
    assert state.best_step == 0
    with pytest.raises(UserError, match="objective.metric=knn/top1 is not logged") as error:
        state.note({"val/top1": 1.0, "knn/accuracy": 0.5})
    assert error.value.allowed == "knn/accuracy, train/loss, val/top1"
    state.step = 10
    with pytest.raises(UserError, match="is not logged"):
        state.note({"val/top1": 1.0})


def test_the_curve_draws_the_objective_with_the_metrics_of_its_unit(tmp_path):
    assert panels("val/top1") == panels("val/loss") == panels("val/top5")
    (_, losses), (_, accuracies) = panels("val/top1")
    assert panels("val/ema_loss")[0][1] == [*losses, "val/ema_loss"]
    assert panels("val/ema_top1")[1][1] == [*accuracies, "val/ema_top1"]
    assert panels("knn/recall") == (panels("val/top1")[0], ("knn/recall", ["knn/recall"]))
    rows = [{"step": n, "epoch": n, "val/loss": 1.0, "knn/recall": 0.5} for n in (1, 2)]
    draw_curve(rows, "a", tmp_path / "a.png", Objective("knn/recall"))
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
