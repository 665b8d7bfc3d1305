"""Every model trains a step on every data set, each in the layout that a user has."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from crate.paths import CONF
from crate.tasks.identity import prepare
from crate.train.setup import build
from crate.train.step import backward, update

OWN = sorted(file.stem for file in (CONF / "model").glob("*.yaml") if file.stem != "timm")
MODELS = [
    *(f"model={name}" for name in OWN),
    "model=timm model.kwargs.model_name=resnet10t",
    "model=timm model.kwargs.model_name=vit_tiny_patch16_224 "
    "+model.kwargs.patch_size=${data.suggested.patch_size}",
]
DATA = sorted(file.stem for file in (CONF / "data").glob("*.yaml"))
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


def overrides(data, roots):
    if data == "fashion_mnist":
        if not DEBIAN_FASHION.is_dir():
            pytest.skip("Debian's dataset-fashion-mnist is not installed")
        return [f"data.root={DEBIAN_FASHION}"]
    return [f"data.root={roots[data]}"] if data in roots else []


def test_the_walk_finds_every_model():
    assert {model.split()[0] for model in MODELS} == {
        f"model={file.stem}" for file in (CONF / "model").glob("*.yaml")
    }


@pytest.mark.parametrize(("model", "data"), list(product(MODELS, DATA)))
def test_every_model_trains_a_step_on_every_data_set(composed, roots, model, data):
    typed = [*model.split(), f"data={data}", "device=cpu", "train.batch_size=2"]
    cfg = composed(*typed, *overrides(data, roots))
    config = prepare(cfg)
    setup = build(config, {})
    pairs = [setup.images.splits["train"][index] for index in (0, 1)]
    images, labels = default_collate([(setup.train_transform(image), y) for image, y in pairs])
    before = [weight.detach().clone() for weight in setup.learner.model.parameters()]
    loss = backward(config.train, setup, setup.learner.model, images, labels, step=0)
    update(setup.learner, config.train.clip_norm, measure=False)
    assert torch.isfinite(loss) and setup.learner.model.num_classes == config.data.num_classes
    after = list(setup.learner.model.parameters())
    moved = sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert moved >= 0.9 * len(after)


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_read_whole(composed):
    from crate.data.fashion_mnist import FashionMNIST

    train, val = (FashionMNIST(split, str(DEBIAN_FASHION)) for split in ("train", "val"))
    assert (len(train), len(val)) == (60_000, 10_000)
    assert torch.bincount(torch.tensor(train.labels)).tolist() == [6000] * 10
    mean = composed("data=fashion_mnist", f"data.root={DEBIAN_FASHION}").data.mean[0]
    assert abs(train.images.float().mean().item() / 255 - mean) < 1e-3
