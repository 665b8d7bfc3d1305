"""CRATE learns Fashion-MNIST, from the files of Debian's package dataset-fashion-mnist."""

from __future__ import annotations

import pytest

from tests.launching import launch, metrics, run_folder

# As in docs/results/fashion_mnist.md, where three seeds are measured.
RECIPE = (
    "data=fashion_mnist",
    "data.download=false",
    "model.patch_size=7",
    "model.embed_dim=96",
    "model.depth=2",
    "train.epochs=2",
    "train.batch_size=64",
    "optimizer.lr=2e-3",
)


@pytest.mark.slow
def test_a_small_crate_passes_80_percent_on_fashion_mnist_in_two_epochs(fashion_mnist, tmp_path):
    done = launch(*RECIPE, f"data.root={fashion_mnist}", f"outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = [row for row in metrics(run_folder(tmp_path)) if "val/top1" in row]
    assert [row["step"] for row in rows] == [938, 1876]  # 60,000 images in batches of 64, twice
    assert rows[-1]["val/top1"] > 80
