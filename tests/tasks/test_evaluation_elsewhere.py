"""A checkpoint is evaluated on other data sets, with images prepared as those of its run."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from crate.config.schema import dump
from crate.data.digits import Digits
from crate.data.label_names import label_names
from crate.data.splits import load_splits
from crate.errors import UserError
from crate.ranks import Ranks
from crate.tasks.checkpoint.config import stored
from crate.tasks.evaluate import evaluate_checkpoint
from crate.tasks.identity import prepare
from crate.train.checkpoints import checkpoint
from crate.train.setup import build_model
from tests.launching import TINY


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return the evaluation split of the digits as colour files, with a folder for each class."""
    folder = tmp_path_factory.mktemp("digits")
    for split in ("train", "val"):
        for number, (image, label) in enumerate(Digits("val")):
            class_folder = folder / split / str(label)
            class_folder.mkdir(parents=True, exist_ok=True)
            to_pil_image(image).convert("RGB").save(class_folder / f"{number}.png")
    return folder


@pytest.fixture
def best(composed, tmp_path):
    """Return a checkpoint for the digits with random weights."""
    config = prepare(composed(*TINY, "data.mean=[0.3]", "data.std=[0.2]"))
    torch.manual_seed(0)
    model = build_model(config, torch.device("cpu"))
    values = {
        "model": model.state_dict(),
        "config": dump(config),
        "label_names": list("0123456789"),
    }
    checkpoint.write(tmp_path / "best.pt", values)
    return tmp_path / "best.pt"


@pytest.fixture
def evaluated(composed, best, caplog):
    """Return a function that evaluates as the command line does: val/top1 and the log."""

    def evaluate(*typed):
        caplog.clear()
        typed = ("task=evaluate", f"checkpoint={best}", "device=cpu", "precision=fp32", *typed)
        with caplog.at_level(logging.INFO, "crate"):
            top1 = evaluate_checkpoint(composed(*typed), list(typed), Ranks.detect())
        return top1, caplog.text

    return evaluate


def test_the_same_images_from_files_give_the_same_result(evaluated, photographs):
    top1, output = evaluated()
    typed = ("data=imagefolder", f"data.root={photographs}", "data.workers=0")
    other, other_output = evaluated(*typed)
    assert other == pytest.approx(top1, abs=0.6)  # grey to colour and back may round
    loss = [float(text.rpartition("val/loss ")[2].split()[0]) for text in (output, other_output)]
    assert loss[0] == pytest.approx(loss[1], rel=1e-3)
    assert "prepared like those that the checkpoint was trained on" in other_output
    assert "360 images of Folder" in other_output and "other names" not in other_output


def test_images_are_prepared_as_the_checkpoints_but_for_what_is_typed(composed, best, photographs):
    typed = ("task=evaluate", f"checkpoint={best}", "data=imagefolder", f"data.root={photographs}")
    typed += ("data.std=[0.9]", "data.img_size=[32,16]")
    config = prepare(stored(composed(*typed), list(typed))[0])
    data, model = config.data, config.model
    assert (data.mean, data.std, data.in_chans, data.num_classes) == ([0.3], [0.9], 1, 10)
    assert data.img_size == model.img_size == [32, 16] and model.in_chans == 1


def test_a_model_of_timm_follows_the_size_that_is_typed(composed, tmp_path):
    model = (
        "model=timm",
        "model.kwargs.model_name=vit_tiny_patch16_224",
        "model.kwargs.patch_size=8",
    )
    config = prepare(composed(*model))
    checkpoint.write(tmp_path / "vit.pt", {"model": {}, "config": dump(config)})
    typed = ("task=evaluate", f"checkpoint={tmp_path / 'vit.pt'}", "data.img_size=32")
    config = prepare(stored(composed(*typed), list(typed))[0])
    assert config.model.kwargs["img_size"] == 32 and config.model.kwargs["patch_size"] == 8
    assert config.model.kwargs["num_classes"] == 10


def test_cifar10_is_seen_as_the_model_sees_images(evaluated, roots):
    top1, output = evaluated("data=cifar10", f"data.root={roots['cifar10']}", "data.workers=0")
    assert 0 <= top1 <= 100 and "6 images of CIFAR10" in output
    assert "classes have other names: class 0 (trained on 0)" in output


def test_another_number_of_classes_is_refused(evaluated, roots):
    with pytest.raises(UserError, match="trained on 10 classes, and the data has 3"):
        evaluated("data=imagefolder", f"data.root={roots['imagefolder']}")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("digits", "0"),
        ("cifar10", "class 0"),
        ("cifar100", "class 0"),
        ("flowers", "pink primrose"),
        ("imagefolder", "n00000000"),
    ],
)
def test_data_sets_have_class_names(composed, roots, name, first):
    typed = [f"data.root={roots[name]}"] if name in roots else []
    data = prepare(composed(f"data={name}", *typed)).data
    names = label_names(load_splits(replace(data, val_fraction=0.5))["train"], data.num_classes)
    assert len(names) == data.num_classes and names[0] == first


def test_fashion_mnist_has_torchvisions_names():
    from torchvision.datasets import FashionMNIST

    from crate.data import fashion_mnist

    assert label_names(fashion_mnist.FashionMNIST, 10) == FashionMNIST.classes
