"""`python -m crate.bench model` and `launch`: what is compared is equal, the numbers add up."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from crate.bench.scaling import _exponent
from crate.bench.textbook import textbook, training_step
from crate.model import CRATE
from crate.paths import CHECKOUT


def bench(*words: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "crate.bench", *words, "--json"],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_textbooks_form_is_the_same_model_and_makes_the_same_update():
    torch.manual_seed(0)
    ours = CRATE(32, 8, 3, 10, 24, 3, 2, step_size=0.2, sparsity=0.3)
    theirs = textbook(ours)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([1, 2, 3, 4])
    assert torch.allclose(theirs(images), ours(images), atol=1e-5)
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    training_step(theirs, "fp32", 1e-3, 0.1, 0.1)(images, labels)
    optimizer = torch.optim.AdamW(ours.parameters(), lr=1e-3, weight_decay=0.1)
    F.cross_entropy(ours(images), labels, label_smoothing=0.1).backward()
    optimizer.step()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        # AdamW's first step is the gradient's sign, which is open where that is zero but for noise
        assert torch.allclose(a, b, atol=1e-5) or (a.grad.abs() < 1e-6).any(), name


def test_an_exponent_is_that_of_a_power_law():
    rows = [{"batch": n, "seconds": 3.0 * n**1.5} for n in (1, 2, 8, 64)]
    assert _exponent("batch", rows, "seconds") == pytest.approx(1.5)
    assert _exponent("batch", rows[:1], "seconds") is None


@pytest.mark.slow
def test_a_step_is_measured_beside_the_textbooks():
    values = bench("model", *"--models crate_nano --batch-size 2 --rounds 1 --steps 1".split())
    ways = values["models"]["crate_nano"]["ways"]
    native = values["native_precision"]
    names = {f"{form} {kind}" for form in ("textbook", "ours") for kind in {"fp32", native}}
    assert set(ways) == names | {f"matmul {kind}" for kind in {"fp32", native}}
    assert ways["textbook fp32"]["ratio_at_its_precision"] == 1
    for name in names:
        row = ways[name]
        assert row["images_a_second"] == pytest.approx(2 / row["seconds"])
        assert 0 < row["share_of_matmul"] < 1.5 and row["peak_memory_gb"] > 0.1
        # 3 passes of 2 operations a multiply-add, as the plan counts them
        assert row["gflops_a_second"] * row["seconds"] == pytest.approx(6 * 2 * 0.2928, rel=0.001)
    assert len(values["models"]["crate_nano"]["largest_costs"][f"ours {native}"]) == 3


@pytest.mark.slow
def test_the_second_job_finds_its_layers_compiled():
    values = bench("launch", *"--rounds 1 --model crate_nano --batch-size 2".split())
    assert set(values["answers_s"]) == {"--help", "--cfg job", "a plan of six runs"}
    assert values["second_to_first"]["the first step"] < 0.8  # about 0.1; the machine may be busy
