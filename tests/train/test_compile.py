"""Layers are compiled once, where it pays, and give the results of uncompiled ones."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import torch

from crate.config.check import typed
from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.train.hardware.compile import decide
from crate.train.setup import build
from crate.train.step import backward
from tests.launching import TINY, launch, metrics, run_folder, start, wait_for_step
from tests.train.test_resume import assert_same_run

CPU = torch.device("cpu")
# What one process compiles for a model of three layers, a full batch, a smaller one and an
# evaluation; prints the numbers of compiled graphs and of code found in the cache.
COUNT = """
import sys, json, torch
from torch._dynamo.utils import counters
from crate.model import CRATE
from crate.train.hardware.compile import as_compiled, compile_layers
torch.manual_seed(0)
model = CRATE(16, 8, 1, 10, 16, 3, 2, sparsity=float(sys.argv[2]), step_size=float(sys.argv[3]))
compile_layers(model, sys.argv[1])
images = torch.rand(4, 1, 16, 16)
for full, part in ((True, images), (False, images[:3]), (True, images)):
    with as_compiled(full), torch.autocast("cpu", torch.bfloat16):
        model(part).float().sum().backward()
with as_compiled(False), torch.inference_mode():
    model.eval()(images)
print(json.dumps({"graphs": counters["stats"]["unique_graphs"],
                  "hits": counters["inductor"]["fxgraph_cache_hit"],
                  "misses": counters["inductor"]["fxgraph_cache_miss"]}))
"""


def big(composed, *overrides):
    return typed(composed("model=crate_tiny", "data=cifar10", *overrides))


def test_auto_compiles_where_the_run_is_long_enough(composed, monkeypatch):
    monkeypatch.setattr("crate.train.hardware.compile._obstacle", lambda device: None)
    assert not decide(typed(composed()), CPU, 1_437)[0], "the run of a minute stays as it is"
    long = big(composed, "data.img_size=224", "model.patch_size=16", "train.epochs=90")
    on, why = decide(long, CPU, 50_000)
    assert on and "h of training pay it back" in why
    assert not decide(
        typed(composed("model=timm", "model.kwargs.model_name=resnet18", "train.epochs=9999")),
        CPU,
        50_000,
    )[0]


def test_the_first_decision_and_an_explicit_choice_are_kept(composed):
    config = typed(composed())
    assert decide(config, CPU, 1_437, "on")[0] and not decide(config, CPU, 1_437, "off")[0]
    asked = typed(composed("train.compile=off"))
    assert not decide(asked, CPU, 1_437, "on")[0]
    assert typed(composed("train.compile=true")).train.compile == "on"
    with pytest.raises(UserError, match="train.compile=perhaps is unknown"):
        typed(composed("train.compile=perhaps"))


def test_without_a_compiler_auto_trains_uncompiled_and_on_is_refused(composed, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    long = big(composed, "data.img_size=224", "model.patch_size=16", "train.epochs=90")
    assert decide(long, CPU, 50_000) == (False, "there is no C++ compiler no-such-compiler")
    with pytest.raises(UserError, match=r"no C\+\+ compiler.*\n.*\n.*train.compile=off"):
        decide(typed(composed("train.compile=on")), CPU, 1_437)


def test_recomputing_gives_the_same_gradient_and_keeps_less(composed):
    def step(*overrides):
        config = typed(composed(*TINY, "model.depth=6", "precision=fp32", "device=cpu", *overrides))
        setup = build(config, {})
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (64, 1, 16, 16), generator=draw, dtype=torch.uint8)
        kept: dict[int, int] = {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            backward(config.train, setup, setup.learner.model, images, torch.arange(64) % 10, 0)
        return [weight.grad for weight in setup.learner.model.parameters()], sum(kept.values())

    plain, all_of_it = step()
    again, less = step("train.recompute=true")
    assert all(map(torch.equal, plain, again))
    assert less < 0.5 * all_of_it


def test_a_model_that_cannot_recompute_is_refused(composed):
    config = typed(composed(*TINY, "train.recompute=true"))
    config.model = typed(composed()).model
    config.model._target_ = "torch.nn.Identity"
    with pytest.raises(UserError, match="torch.nn.Identity cannot"):
        build(config, {})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return what two processes compiled, one after the other, with another lambda and eta."""
    folder, counts = tmp_path_factory.mktemp("compiled"), []
    for values in (("0.1", "0.1"), ("0.37", "0.05")):
        done = subprocess.run(
            [sys.executable, "-c", COUNT, str(folder), *values],
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout.splitlines()[-1]))
    return folder, counts


@pytest.mark.slow
def test_one_compiled_layer_serves_all_layers_and_every_lambda_and_eta(compiled):
    folder, (first, second) = compiled
    assert first["graphs"] == second["graphs"] == 1
    assert first["misses"] > 0 and second["misses"] == 0 and second["hits"] == first["misses"]
    assert list(folder.glob("compiled/*/fxgraph")), "kept where all runs look"


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_a_compiled_step_has_the_plain_ones_loss_and_gradient(
    composed, compiled, precision, tolerance
):
    def step(compile):
        options = ("train.batch_size=13", f"precision={precision}", "device=cpu")
        outputs = f"outputs={compiled[0]}"
        config = typed(composed(*TINY, *options, outputs, f"train.compile={compile}"))
        setup = build(config, {})
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (13, 1, 16, 16), generator=draw, dtype=torch.uint8)
        loss = backward(config.train, setup, setup.learner.model, images, torch.arange(13) % 10, 0)
        return loss, [weight.grad for weight in setup.learner.model.parameters()]

    (loss, gradient), (fast_loss, fast_gradient) = step("off"), step("on")
    assert torch.allclose(loss, fast_loss, atol=tolerance)
    for plain, fast in zip(gradient, fast_gradient, strict=True):
        assert (plain - fast).norm() <= 10 * tolerance * plain.norm() + 1e-6


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_bit_and_says_that_it_is_compiled(tmp_path):
    run = (*TINY, "train.epochs=10", "train.compile=on", "augment=flip_crop")
    run += ("train.log_every_steps=1", "train.checkpoint_every_steps=7")
    whole = launch(*run, f"outputs={tmp_path / 'whole'}")
    assert whole.returncode == 0 and "layers compiled: as asked for" in whole.stdout, whole.stderr
    cut = tmp_path / "cut"
    for step, number in ((20, signal.SIGKILL), (45, signal.SIGTERM)):
        process = start(*run, f"outputs={cut}")
        wait_for_step(process, cut, step)
        process.send_signal(number)
        process.finish()
    assert launch(*run, f"outputs={cut}").returncode == 0
    assert_same_run(run_folder(cut), run_folder(tmp_path / "whole"))
    assert metrics(run_folder(cut)) == metrics(run_folder(tmp_path / "whole"))
