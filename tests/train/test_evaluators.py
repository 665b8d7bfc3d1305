"""A user's own evaluator runs and resumes like the validation, and does not change the training."""

from __future__ import annotations

import re
import signal

import pytest
import torch

from tests.launching import (
    TINY,
    launch,
    launch_ranks,
    metrics,
    run_folder,
    start,
    status,
    wait_for_step,
)

CODE = """
import random

import numpy
import torch


def check(model, batches, ranks, fails_on=None, returns=None):
    assert not model.training and not torch.is_grad_enabled()
    correct = count = 0
    for images, labels in batches:
        if ranks.rank == fails_on:
            raise KeyError("the fault of this test")
        assert images.dtype == torch.float32 and abs(images.mean()) < 2
        correct += int((model(images).argmax(1) == labels).sum())
        count += len(labels)
    noise = torch.rand(()).item() + random.random() + numpy.random.rand()
    correct, count = ranks.sum(torch.tensor([correct, count]))
    return returns or {"accuracy": 100 * correct / count, "images": count, "noise": noise}


def probe(model, batches, ranks, step_size=0.1):
    # A linear probe with gradients, trained on one split and tested on the other.
    head = torch.nn.Linear(10, 10)
    with torch.enable_grad():
        for images, labels in batches.of("train"):
            with torch.no_grad():
                features = model(images).float()
            loss = torch.nn.functional.cross_entropy(head(features), labels)
            loss.backward()
            with torch.no_grad():
                for weight in head.parameters():
                    weight -= step_size * weight.grad
                    weight.grad = None
    right = [(head(model(images).float()).argmax(1) == labels) for images, labels in batches]
    return {"top1": torch.cat(right).float().mean() * 100}
"""
RUN = (*TINY, "train.epochs=3", "precision=fp32", "device=cpu")
OWN = "+evaluators.own._target_=measure.check"


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """Return a folder of the user with functions and an option of the group `evaluators`."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "measure.py").write_text(CODE)
    (folder / "evaluators").mkdir()
    (folder / "evaluators" / "both.yaml").write_text(
        "own:\n  _target_: measure.check\n  every_epochs: 2\n"
        "probe:\n  _target_: measure.probe\n  step_size: 0.5\n"
    )
    return folder


@pytest.fixture(scope="module")
def measured(code, tmp_path_factory):
    """Return the folder of a run with both evaluators and a running mean of the weights."""
    outputs = tmp_path_factory.mktemp("measured")
    typed = (*RUN, f"--config-dir={code}", "+evaluators=both", "train.ema=0.9")
    done = launch(*typed, f"outputs={outputs}")
    assert done.returncode == 0, done.stderr
    return run_folder(outputs)


def evaluations(folder):
    return [row for row in metrics(folder) if "val/top1" in row]


def test_the_metrics_are_logged_when_due_for_the_weights_and_their_mean(measured):
    rows = evaluations(measured)
    assert ["own/accuracy" in row for row in rows] == [False, True, True]
    assert ["probe/top1" in row for row in rows] == [True, True, True]
    for row in rows[1:]:
        assert row["own/accuracy"] == pytest.approx(row["val/top1"], abs=1e-4)
        assert row["own/ema_accuracy"] == pytest.approx(row["val/ema_top1"], abs=1e-4)
        assert row["own/images"] == 360 and 0 <= row["probe/ema_top1"] <= 100
    assert rows[1]["own/noise"] == rows[2]["own/noise"], "draws start from the seed of the run"
    assert f"own/accuracy {rows[2]['own/accuracy']:.4f}" in (measured / "log").read_text()


def test_an_evaluator_does_not_move_the_training(code, tmp_path):
    folders = []
    for name, typed in (("with", [f"--config-dir={code}", "+evaluators=both"]), ("without", [])):
        done = launch(*RUN, *typed, f"outputs={tmp_path / name}")
        assert done.returncode == 0, done.stderr
        folders.append(run_folder(tmp_path / name))
    ours, theirs = (
        torch.load(folder / "checkpoints" / "step-00000069.pt", weights_only=True)
        for folder in folders
    )
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in ours["model"])
    generators = [each["ranks"][0]["generators"] for each in (ours, theirs)]
    assert torch.equal(*(each["torch"] for each in generators))
    assert torch.equal(*(each["numpy"][1] for each in generators))
    assert generators[0]["python"] == generators[1]["python"]
    for row, other in zip(*map(metrics, folders), strict=True):
        assert row == other | {name: row[name] for name in row.keys() - other.keys()}


def test_a_stopped_run_resumes_with_the_same_metrics(code, measured, tmp_path):
    typed = (*RUN, f"--config-dir={code}", "+evaluators=both", "train.ema=0.9")
    process = start(*typed, "train.log_every_steps=1", f"outputs={tmp_path}")
    wait_for_step(process, tmp_path, 30)
    process.send_signal(signal.SIGTERM)
    assert process.finish().returncode == 143
    done = launch(*typed, f"outputs={tmp_path}")
    assert done.returncode == 0 and "going on at step" in done.stdout, done.stderr
    assert run_folder(tmp_path).name == measured.name
    assert evaluations(run_folder(tmp_path)) == evaluations(measured)


def test_evaluating_a_checkpoint_runs_its_evaluators_and_those_that_are_typed(code, measured):
    best = measured / "checkpoints" / "best.pt"
    step = torch.load(best, weights_only=True)["step"]
    (row,) = [row for row in evaluations(measured) if row["step"] == step]
    typed = ("task=evaluate", f"checkpoint={best}", "device=cpu", f"--config-dir={code}")
    done = launch(*typed, "+evaluators.more._target_=measure.check")
    assert done.returncode == 0, done.stderr
    shown = dict(pair.split(" ") for pair in done.stdout.splitlines()[-1].split("  "))
    assert shown["more/accuracy"] == shown["own/accuracy"] and "probe/ema_top1" in shown
    for name, value in row.items():
        if name.startswith(("own/", "probe/", "val/")):
            assert float(shown[name]) == pytest.approx(value, abs=1e-4), name


def test_an_export_needs_no_module_of_an_evaluator(measured, tmp_path):
    best = measured / "checkpoints" / "best.pt"
    done = launch("task=export", f"checkpoint={best}", f"export_to={tmp_path / 'to'}")
    assert done.returncode == 0 and (tmp_path / "to" / "config.json").is_file(), done.stderr


def test_a_metric_of_an_evaluator_can_be_the_objective(code, tmp_path):
    typed = (f"--config-dir={code}", "+evaluators=both", "objective.metric=own/noise")
    done = launch(*RUN, *typed, f"outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    folder = run_folder(tmp_path)
    first, second = [row for row in metrics(folder) if "own/noise" in row]
    assert first["own/noise"] == second["own/noise"], "the first of equal values stays the best"
    state = status(folder)
    assert (state["objective"], state["best"]) == ("own/noise", first["own/noise"])
    best = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    assert best["step"] == state["best_step"] == first["step"] == 46


def test_the_points_of_a_sweep_run_their_evaluators(code, tmp_path):
    typed = ("-m", "seed=0,1", f"--config-dir={code}", OWN, "+evaluators.own.returns={one:1}")
    done = launch(*RUN, "train.epochs=1", *typed, f"outputs={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row for path in (tmp_path / "runs").iterdir() for row in evaluations(path)]
    assert [row["own/one"] for row in rows] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("fails_on=0", r"evaluators.own: measure.check failed at measure.py:\d+: KeyError: .*test"),
        ("returns=text", "evaluators.own: measure.check returned str"),
        ("returns={a:text}", "evaluators.own: measure.check returned 'a': str"),
    ],
)
def test_an_error_in_it_is_a_message_that_names_it(code, tmp_path, typed, message):
    arguments = (f"--config-dir={code}", OWN, f"+evaluators.own.{typed}")
    done = launch(*RUN, *arguments, f"outputs={tmp_path}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr
    state = status(run_folder(tmp_path))
    assert state["state"] == "failed" and re.search(message, state["reason"])


def test_ranks_measure_together_and_an_error_of_one_ends_all(code, tmp_path):
    arguments = (*RUN, "train.epochs=1", f"--config-dir={code}", OWN)
    first, second = launch_ranks(*arguments, f"outputs={tmp_path / 'whole'}")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    (row,) = evaluations(run_folder(tmp_path / "whole"))
    assert row["own/images"] == 360
    assert row["own/accuracy"] == pytest.approx(row["val/top1"], abs=1e-4)
    failing = (*arguments, "+evaluators.own.fails_on=1", f"outputs={tmp_path / 'failing'}")
    first, second = launch_ranks(*failing)
    assert first.returncode == second.returncode == 1
    assert "rank 1: evaluators.own: measure.check failed" in first.stderr, first.stderr
    assert "error:" not in second.stderr
