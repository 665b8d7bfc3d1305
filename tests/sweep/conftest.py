"""A real cluster for the tests of sweeps, and models that misbehave on purpose."""

from __future__ import annotations

import os

import pytest

from tests import slurm_cluster

ODD = '''
import os, signal, sys, time
from pathlib import Path

import torch


class Odd(torch.nn.Module):
    """Misbehaves as `mode` says, mostly at its third step, until the file `mended` exists."""

    def __init__(self, mode, mended):
        super().__init__()
        self.mode, self.mended, self.steps = mode, Path(mended), 0
        self.head = torch.nn.Linear(256, 10)
        if mode == "early" and "CRATE_POOL" in os.environ:
            os.kill(os.getpid(), signal.SIGINT)

    def forward(self, images):
        self.steps += self.training
        if self.steps == 3 and not self.mended.exists():
            getattr(self, self.mode)()
        return self.head(images.flatten(1))

    def early(self):
        pass

    def fine(self):
        pass

    def error(self):
        raise RuntimeError("boom at the third step")

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def orphan(self):
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1000)

    def term(self):
        os.kill(os.getpid(), signal.SIGTERM)

    def exit(self):
        sys.exit(3)

    def memory(self):
        torch.empty(1 << 60)

    def sleep(self):
        time.sleep(1000)

    def slow(self):
        self.steps = 2
        time.sleep(0.05)
'''


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Start a Slurm of two nodes, with accounting, and arrays of at most three jobs."""
    missing = slurm_cluster.missing(accounting=True)
    if missing and "REQUIRE_PACKAGES" not in os.environ:
        pytest.skip(f"no Slurm here: {', '.join(missing)} missing")
    folder = tmp_path_factory.mktemp("slurm")
    cluster = slurm_cluster.Cluster(folder / "cluster", accounting=True, max_array=3)
    yield cluster
    cluster.stop()


@pytest.fixture
def odd(tmp_path):
    """Write a folder for --config-dir with the model `odd`; return the arguments that choose it."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "odd.py").write_text(ODD)
    (tmp_path / "mine" / "model" / "odd.yaml").write_text(
        f"_target_: odd.Odd\nkwargs: {{mode: fine, mended: {tmp_path}/mended}}\n"
    )
    return (
        f"--config-dir={tmp_path}/mine",
        "model=odd",
        "train.epochs=1",
        "train.batch_size=256",
        "train.log_every_steps=1",
        "data.workers=0",
        "schedule.warmup_epochs=0",
    )
