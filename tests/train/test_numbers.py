"""fp16, the running mean of the weights, validation splits and profiles work as documented."""

from __future__ import annotations

import gzip
import json
import re
import signal

import pytest
import torch

from crate.config.check import typed
from crate.data.splits import load_splits
from crate.errors import UserError
from crate.train.setup import build
from crate.train.step import backward, update
from tests.launching import (
    TINY,
    launch,
    metrics,
    run_folder,
    start,
    status,
    wait_for_step,
)


def trained(composed, *overrides, steps=5):
    """Return the setup after some steps, and the weights after each, as lists of tensors."""
    config = typed(composed(*TINY, "train.batch_size=13", "device=cpu", *overrides))
    setup = build(config, {})
    draw, history = torch.Generator().manual_seed(0), []
    for step in range(steps):
        images = torch.randint(0, 256, (13, 1, 16, 16), generator=draw, dtype=torch.uint8)
        labels = torch.randint(0, 10, (13,), generator=draw)
        backward(config.train, setup, setup.learner.model, images, labels, step)
        update(setup.learner, config.train.clip_norm, measure=False)
        history.append([weight.detach().clone() for weight in setup.learner.model.parameters()])
    return setup, history


def test_ema_is_the_running_mean_of_the_weights(composed):
    setup, history = trained(composed, "train.ema=0.7", "precision=fp32")
    expected = history[0]
    for weights in history[1:]:
        pairs = zip(expected, weights, strict=True)
        expected = [0.7 * mean + 0.3 * weight for mean, weight in pairs]
    for mean, weight in zip(setup.learner.ema.module.parameters(), expected, strict=True):
        assert torch.allclose(mean, weight, atol=1e-7)


def test_fp16_follows_fp32_and_a_gradient_that_overflows_is_left_out(composed):
    _, exact = trained(composed, "precision=fp32", "train.clip_norm=1")
    setup, rough = trained(composed, "precision=fp16", "train.clip_norm=1")
    assert setup.learner.scaler.is_enabled() and setup.learner.scaler.get_scale() > 1
    for weight, other in zip(rough[-1], exact[-1], strict=True):
        assert (weight - other).abs().max() < 0.02
    scale, before = (
        setup.learner.scaler.get_scale(),
        [w.clone() for w in setup.learner.model.parameters()],
    )
    loss = sum(weight.sum() for weight in setup.learner.model.parameters()) * float("inf")
    setup.learner.scaler.scale(loss).backward()
    update(setup.learner, None, measure=False)
    assert setup.learner.scaler.get_scale() < scale
    assert all(map(torch.equal, setup.learner.model.parameters(), before))


def test_a_run_in_fp16_with_ema_resumes_to_the_bit_scaler_included(tmp_path):
    run = (*TINY, "train.epochs=4", "precision=fp16", "train.ema=0.99", "train.log_every_steps=1")
    assert launch(*run, f"outputs={tmp_path / 'whole'}").returncode == 0
    process = start(*run, f"outputs={tmp_path / 'cut'}")
    wait_for_step(process, tmp_path / "cut", 30)
    process.send_signal(signal.SIGTERM)
    assert process.finish().returncode == 143
    assert "going on at step" in launch(*run, f"outputs={tmp_path / 'cut'}").stdout
    whole, cut = (run_folder(tmp_path / name) for name in ("whole", "cut"))
    assert metrics(cut) == metrics(whole)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "step-00000092.pt", weights_only=True)
        for folder in (cut, whole)
    )
    assert ours["scaler"] == theirs["scaler"] and ours["scaler"]["scale"] > 1
    for part in ("model", "ema"):
        assert all(torch.equal(ours[part][name], theirs[part][name]) for name in theirs[part])
    for name in ("best.pt", "step-00000092.pt"):
        checkpoint = f"checkpoint={whole / 'checkpoints' / name}"
        done = launch("task=evaluate", checkpoint, "precision=fp16")
        shown = dict(pair.split(" ") for pair in done.stdout.splitlines()[-1].split("  "))
        step = torch.load(whole / "checkpoints" / name, weights_only=True)["step"]
        (row,) = [row for row in metrics(whole) if row["step"] == step and "val/top1" in row]
        for metric, value in shown.items():
            assert float(value) == pytest.approx(row[metric], abs=2e-4), (name, metric)
        assert "val/ema_top1" in shown
    rows = [row for row in metrics(whole) if "val/top1" in row]
    assert len(rows) == 4 and all({"val/ema_top1", "val/ema_loss"} <= row.keys() for row in rows)


def test_a_validation_split_is_carved_from_training_the_same_for_every_seed(composed):
    splits = load_splits(typed(composed("data.val_fraction=0.25")).data)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 1078,
        "val": 359,
        "test": 360,
    }
    assert not set(splits["train"].indices) & set(splits["val"].indices)
    again = load_splits(typed(composed("data.val_fraction=0.25", "seed=9")).data)
    assert again["val"].indices == splits["val"].indices
    with pytest.raises(UserError, match="leaves a split empty"):
        load_splits(typed(composed("data.val_fraction=0.0001")).data)


def test_every_output_names_the_images_that_chose_the_best(tmp_path):
    run = (*TINY, "train.epochs=1", f"outputs={tmp_path}")
    done = launch(*run)
    assert "(chosen on the evaluation split)" in done.stdout
    assert status(run_folder(tmp_path))["best_chosen_on"] == "the evaluation split"
    carved = (*TINY, "train.epochs=1", "data.val_fraction=0.1", f"outputs={tmp_path / 'carved'}")
    done = launch(*carved)
    assert "(chosen on 144 images set apart from training)" in done.stdout
    assert "test/top1: last" in done.stdout
    folder = run_folder(tmp_path / "carved")
    assert metrics(folder)[-1].keys() >= {"test/top1", "test/best_top1", "test/best_loss"}
    best = folder / "checkpoints" / "best.pt"
    alone = launch("task=evaluate", f"checkpoint={best}").stdout
    assert f"val/top1 {metrics(folder)[-1]['test/best_top1']:.4f}" in alone


def test_a_profile_names_the_largest_costs_and_leaves_a_trace(tmp_path):
    done = launch(*TINY, "train.epochs=1", "train.profile=2", f"outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    (costs,) = re.findall("largest costs: (.*); trace", done.stdout)
    named = re.findall(r"(.*?) (\d+) %(?:, |$)", costs)
    trace = run_folder(tmp_path) / "trace.json.gz"
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert len(named) == 3 and {name for name, _ in named} <= {e.get("name") for e in events}
    assert [int(share) for _, share in named] == sorted((int(s) for _, s in named), reverse=True)
    steps = {e["name"] for e in events if e.get("name", "").startswith("ProfilerStep#")}
    assert len(steps) == 2


def test_metrics_include_speed_memory_gradient_and_the_remaining_time(tmp_path):
    assert launch(*TINY, "train.epochs=1", f"outputs={tmp_path}").returncode == 0
    rows = [
        json.loads(line)
        for line in (run_folder(tmp_path) / "metrics.jsonl").read_text().split("\n")[:-1]
    ]
    training = [row for row in rows if "train/loss" in row]
    for row in training:
        assert row["images_per_s"] > 0 and 0.05 < row["memory_gb"] < 10
        assert row["train/grad_norm"] > 0
    assert training[0]["remaining_s"] > 0 and training[-1]["remaining_s"] == 0


def test_the_logged_norm_is_that_of_the_gradient_before_clipping(composed):
    config = typed(composed(*TINY, "train.batch_size=13", "precision=fp32", "device=cpu"))
    setup = build(config, {})
    images = torch.full((13, 1, 16, 16), 200, dtype=torch.uint8)
    backward(config.train, setup, setup.learner.model, images, torch.arange(13) % 10, 0)
    squares = sum((weight.grad.double() ** 2).sum() for weight in setup.learner.model.parameters())
    norm = update(setup.learner, 1e-3, measure=False)
    assert norm.item() == pytest.approx(squares.sqrt().item(), rel=1e-5) and norm > 1e-2


def test_deterministic_refuses_what_varies_and_changes_no_number_here(tmp_path):
    runs = {}
    for choice in ("true", "false"):
        outputs = tmp_path / choice
        done = launch(
            *TINY, "train.epochs=1", f"deterministic={choice}", f"outputs={outputs}", "device=cpu"
        )
        assert done.returncode == 0, done.stderr
        runs[choice] = [row.get("train/loss") for row in metrics(run_folder(outputs))]
    assert runs["true"] == runs["false"]
