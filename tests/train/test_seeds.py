"""A run depends only on its seed, resumed or not, whether torch, numpy or `random` draws."""

from __future__ import annotations

import pytest
import torch

from crate.data.loading.loader import eval_batches
from tests.data.test_loader import Numbers
from tests.launching import launch, metrics, run_folder, status

DRAWING = '''
import os, random, signal
from pathlib import Path

import numpy as np
import torch

# Each new interpreter seeds its generators differently; the tests' processes are forked instead.
np.random.seed(int.from_bytes(os.urandom(4), "big"))
random.seed(os.urandom(8))
torch.manual_seed(int.from_bytes(os.urandom(7), "big"))


class Drawing(torch.nn.Linear):
    """Drops inputs by all three generators; sends itself a signal once, at its fourth step."""

    def __init__(self, stop_file):
        super().__init__(256, 10)
        self.stop_file, self.steps = Path(stop_file), 0
        with torch.no_grad():
            self.bias += random.random() + np.random.rand()

    def forward(self, images):
        images = images.flatten(1)
        if self.training:
            images = torch.nn.functional.dropout(images, 0.1)
            images = images * torch.from_numpy(np.random.rand(256) > 0.1)
            images = images * torch.tensor([random.random() > 0.1 for _ in range(256)])
            self.steps += 1
            if self.steps == 4 and self.stop_file.exists():
                self.stop_file.unlink()
                os.kill(os.getpid(), signal.SIGTERM)
        return super().forward(images)
'''


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """Return a function that runs a command in a folder and returns the weights it reaches."""
    mine = tmp_path_factory.mktemp("mine")
    (mine / "drawing.py").write_text(DRAWING)
    (mine / "model").mkdir()
    stop_file = f"_target_: drawing.Drawing\nkwargs: {{stop_file: {mine}/stop}}\n"
    (mine / "model" / "drawing.yaml").write_text(stop_file)
    words = (f"--config-dir={mine}", "model=drawing", "train.epochs=2", "train.batch_size=256")
    words += ("data.workers=0", "schedule.warmup_epochs=0", "train.log_every_steps=1")

    def run(outputs, code, *more, stop=False):
        if stop:
            (mine / "stop").touch()
        done = launch(*words, *more, f"outputs={outputs}")
        assert done.returncode == code and not (mine / "stop").exists(), done
        return run_folder(outputs)

    return run


def weights(folder):
    return torch.load(folder / "checkpoints" / "step-00000012.pt", weights_only=True)["model"]


def test_a_model_that_draws_from_every_generator_is_reproduced_and_resumed(drawing, tmp_path):
    whole = drawing(tmp_path / "whole", 0)
    again = drawing(tmp_path / "again", 0, "data.workers=1")
    other = drawing(tmp_path / "other", 0, "seed=1")
    stopped = drawing(tmp_path / "stopped", 143, stop=True)
    assert status(stopped)["step"] == 4
    resumed = drawing(tmp_path / "stopped", 0)
    for folder in (again, resumed):
        assert metrics(folder) == metrics(whole)
        assert all(
            torch.equal(each, weights(whole)[name]) for name, each in weights(folder).items()
        )
    assert metrics(other) != metrics(whole)


def test_random_draws_in_evaluation_depend_only_on_the_image():
    def draws(**how):
        batches = eval_batches(Numbers(23), lambda image: image, **how)
        return torch.cat([images for images, _ in batches])

    whole = draws(workers=0)
    torch.rand(3)  # the state of the process does not matter
    for how in ({"workers": 0}, {"workers": 2}, {"workers": 1, "batch_size": 4}):
        assert torch.equal(draws(**how), whole)
    assert torch.equal(draws(workers=0, rank=1, size=2), whole[1::2])
    assert len({tuple(row.tolist()) for row in whole[:, 1:]}) == 23
