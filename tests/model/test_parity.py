"""CRATE computes what the authors' code computes, to 1e-10 in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lion_pytorch import Lion
from timm.loss import LabelSmoothingCrossEntropy

from crate.measures import coding_rate, nonzero_fraction
from crate.model import Trace
from crate.model.official import convert

FOLDER = Path(__file__).parents[1] / "reference"


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.fixture
def trace(model, reference):
    trace = Trace()
    with torch.no_grad():
        model(reference["images"], trace=trace)
    return trace


def test_there_are_three_reference_cases():
    cases = sorted(path.stem for path in FOLDER.glob("*.npz"))
    assert cases == ["cls_pool", "mean_pool", "rectangular"]


def test_logits_equal_the_authors(model, reference):
    assert_same(model(reference["images"]), reference["logits"])


@pytest.mark.parametrize(
    "loss",
    [LabelSmoothingCrossEntropy(0.1), lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)],
    ids=["timm", "torch"],
)
def test_loss_equals_the_authors(model, reference, loss):
    value = loss(model(reference["images"]), reference["labels"])
    assert_same(value, reference["loss_label_smoothing_0.1"])


def test_gradient_of_every_weight_equals_the_authors(model, reference):
    logits = model(reference["images"])
    F.cross_entropy(logits, reference["labels"], label_smoothing=0.1).backward()
    expected = convert(reference.under("grad/"))
    assert set(expected) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert_same(parameter.grad, expected[name])


def test_every_layer_of_the_trace_equals_the_authors_activations(trace, reference):
    assert len(trace.layers) == reference.config["depth"]
    for i, layer in enumerate(trace.layers):
        theirs = reference.under(f"activation/layer{i}/")
        assert_same(layer.projection.transpose(1, 2).flatten(2), theirs["subspace_projection"])
        assert_same(layer.half - layer.tokens_in, theirs["mssa_out"])
        assert_same(layer.tokens_out, theirs["ista_out"])


def test_coding_rate_mean_and_unbiased_std_equal_the_authors(trace, reference):
    rates = torch.stack([coding_rate(layer.projection) for layer in trace.layers])
    assert_same(rates.mean(dim=1), reference["coding_rate_mean"])
    assert_same(rates.std(dim=1), reference["coding_rate_std"])


def test_share_of_exact_zeros_equals_the_authors(trace, reference):
    zeros = torch.stack([1 - nonzero_fraction(layer.tokens_out).mean() for layer in trace.layers])
    assert_same(zeros, reference["zero_fraction"])


OPTIMIZERS = {
    "lion": lambda weights: Lion(weights, lr=2e-4, betas=(0.9, 0.99), weight_decay=0.05),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=4e-4, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_of_training_give_the_authors_losses(model, reference, name):
    optimizer = OPTIMIZERS[name](model.parameters())
    losses = []
    for images, labels in zip(reference["train/images"], reference["train/labels"], strict=True):
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert len(losses) == 20
    assert_same(torch.stack(losses), reference[f"train/{name}_losses"])
