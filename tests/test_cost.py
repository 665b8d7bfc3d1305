"""The cost of a configuration equals the numbers that torch counts on the built model and run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import timm.layers.config
import torch
from timm.layers import set_fused_attn
from torch.utils.flop_counter import FlopCounterMode

from crate.config.schema import Data, Model, pair
from crate.config.target import call
from crate.cost import COMPRESSION_PRICES, SPARSIFIER_PRICES, Cost, cost
from crate.data import facts
from crate.data.splits import load_splits
from crate.model import COMPRESSIONS, SPARSIFIERS
from crate.model.mssa import MSSA
from crate.paths import CHECKOUT
from crate.run.folder import RunFolder
from crate.tasks.identity import prepare
from crate.tracking import Tracker
from crate.train.loop import train
from crate.train.setup import build
from crate.train.signals import Signals
from tests.launching import TINY

CRATES = [f"crate_{size}" for size in ("nano", "tiny", "small", "base", "large")]
MODELS = [*CRATES, "vit_tiny", "vit_small"]
SHAPES = {  # as the overrides of digits, so that no files are needed
    "digits": "",
    "fashion_mnist": "data.img_size=28 model.patch_size=4",
    "imagenet": "data.img_size=224 model.patch_size=16 data.in_chans=3 data.num_classes=1000",
    "rectangular": "data.img_size=[48,32] model.patch_size=[4,8] data.in_chans=3",
}
VARIANTS = [
    "model=crate_nano model.head_dim=20",
    "model=crate_nano model.num_heads=1",  # Identity in the place of the output matrix
    "model=crate_nano model.num_heads=1 model.head_dim=192",
    "model=crate_nano model.num_heads=1 model.head_dim=20",
    "model=crate_nano model.num_heads=5 model.head_dim=1 model.depth=1 data.num_classes=1",
    "model=crate_nano model.global_pool=token",
    "model=crate_tiny model.global_pool=avg",
    "model=vit_tiny model.global_pool=avg",
    "model=vit_tiny model.num_heads=1 model.embed_dim=20 model.depth=1",
]
OPERATORS = [  # each row of both tables
    *(f"model=crate_nano model.compression={name}" for name in COMPRESSIONS),
    *(f"model=crate_nano model.sparsifier={name}" for name in SPARSIFIERS),
]
CASES = [f"model={model} {shape}" for model in MODELS for shape in SHAPES.values()]
CASES += [*VARIANTS, *OPERATORS]


@pytest.fixture(autouse=True)
def explicit_attention(monkeypatch):
    """Switch to explicit attention: the counter knows the fused kernel only on some devices."""
    flag = timm.layers.config._USE_FUSED_ATTN
    monkeypatch.setattr(timm.layers.config, "_USE_FUSED_ATTN", flag)  # to be put back
    set_fused_attn(False)


def built(config):
    """Return the configured model, without memory for its weights, and one image for it."""
    with torch.device("meta"):
        images = torch.empty(1, config.data.in_chans, *pair(config.data.img_size))
        return call(config.model), images


@pytest.mark.parametrize("case", CASES)
def test_parameters_and_flops_are_those_of_the_model_really_built(composed, case):
    config = prepare(composed(*case.split()))
    model, images = built(config)
    price = cost(config)
    assert price.num_parameters == sum(weight.numel() for weight in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model(images)
    assert price.forward_flops == counter.get_total_flops()


def test_every_operator_has_a_price():
    assert COMPRESSION_PRICES.keys() == COMPRESSIONS.keys()
    assert SPARSIFIER_PRICES.keys() == SPARSIFIERS.keys()


def test_the_cases_meet_attention_without_its_output_matrix(composed):
    def is_identity(case):
        model, _ = built(prepare(composed(*case.split())))
        attention = [module for module in model.modules() if isinstance(module, MSSA)]
        return bool(attention) and isinstance(attention[0].output, torch.nn.Identity)

    assert [case for case in VARIANTS if is_identity(case)] == VARIANTS[1:3]


@pytest.mark.parametrize(
    ("name", "num_parameters", "gmacs"),
    [
        ("crate_tiny", 6_090_856, 2.16),
        ("crate_small", 13_116_328, 4.55),
        ("crate_base", 22_796_008, 7.80),
        ("crate_large", 77_641_192, 26.85),
    ],
)
def test_published_sizes(composed, name, num_parameters, gmacs):
    """The published count is that of the authors' code, whose ISTA needs a third product."""
    config = prepare(composed(f"model={name}", *SHAPES["imagenet"].split()))
    price, model = cost(config), config.model
    third = model.depth * 197 * model.embed_dim**2
    assert price.num_parameters == num_parameters
    assert round((price.forward_flops / 2 + third) / 1e9, 2) == gmacs


@pytest.mark.parametrize(("name", "millions"), [("vit_tiny", 5.72), ("vit_small", 22.05)])
def test_published_sizes_of_the_baselines(composed, name, millions):
    config = prepare(composed(f"model={name}", *SHAPES["imagenet"].split()))
    assert round(cost(config).num_parameters / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("crate_nano", ""),
        ("crate_nano", "data.val_fraction=0.1"),
        ("vit_tiny", "data.val_fraction=0.1 train.ema=0.9"),
    ],
)
def test_a_whole_run_spends_the_flops_of_its_cost(composed, tmp_path, model, more):
    typed = [f"model={model}", *TINY, "device=cpu", "precision=fp32"]
    config = prepare(composed(*typed, "train.epochs=2", "train.batch_size=500", *more.split()))
    setup = build(config, {})
    folder = RunFolder.create(str(tmp_path), "run", "signature")
    with Signals() as signals, FlopCounterMode(display=False) as counter:
        assert train(config, setup, folder, "signature", Tracker(), signals).is_done
    # What is not deducted: ViT's stem has no gradient to give to the pixels.
    num_patches, patch_dim, dim = 4, 64, 16
    stem = 2 * num_patches * patch_dim * dim * 2 * len(setup.images.splits["train"])
    undeducted = stem if model == "vit_tiny" else 0
    assert cost(config, facts.num_images).train_flops - undeducted == counter.get_total_flops()


def test_a_model_without_a_formula_has_no_cost(composed):
    config = prepare(composed())
    known = cost(config, facts.num_images)
    assert cost(config) == replace(known, train_flops=None)
    assert known.train_flops > known.forward_flops > known.num_parameters > 0
    nothing = Cost(None, None, None)
    resnet = composed("model=timm", "model.kwargs.model_name=resnet18", "precision=fp32")
    assert cost(prepare(resnet)) == nothing
    assert cost(replace(config, model=Model(_target_="crate.model.CRATE"))) == nothing
    assert cost(replace(config, model=replace(config.model, _target_="mine.Net"))) == nothing
    assert cost(replace(config, task="evaluate", checkpoint="best.pt")) == nothing
    for operator in ({"compression": "mine.Mix"}, {"sparsifier": "mine.Soft"}):
        assert cost(replace(config, model=replace(config.model, **operator))) == nothing
    own = Data(_target_="mine.Stripes", img_size=16, in_chans=1, num_classes=10)
    for data in (own, replace(config.data, _target_="mine.Digits")):
        assert facts.num_images(data) is None
        unknown = replace(known, train_flops=None)
        assert cost(replace(config, data=data), facts.num_images) == unknown


def lengths(data):
    return {split: len(images) for split, images in load_splits(data).items()}


@pytest.mark.parametrize("fraction", [0, 0.1, 0.33])
def test_digits_are_counted_as_they_are_read(composed, fraction):
    data = prepare(composed(f"data.val_fraction={fraction}")).data
    assert facts.num_images(data) == lengths(data)


def test_fashion_mnist_are_counted_as_they_are_read(composed, fashion_mnist):
    data = prepare(composed("data=fashion_mnist", f"data.root={fashion_mnist}")).data
    assert facts.num_images(data) == lengths(data)


def test_a_folders_images_are_counted_as_they_are_read(composed, roots, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(roots["imagefolder"], root)
    first, *_ = sorted((root / "train").iterdir())
    image = first / "photograph.JPEG"
    (first / "deeper").mkdir()
    for copy in (first / "deeper" / "a.png", first / "b.TIFF", root / "train" / "of_no_class.png"):
        shutil.copy(image, copy)
    (first / "labels.txt").write_text("no image")
    second = sorted((root / "val").iterdir())[1]
    (second / "link").symlink_to(first / "deeper", target_is_directory=True)
    for split in ("train", "val"):
        (root / split / "linked").symlink_to(first, target_is_directory=True)
    for fraction in (0, 0.3):
        typed = ("data=imagefolder", f"data.root={root}", f"data.val_fraction={fraction}")
        data = prepare(composed(*typed)).data
        assert facts.num_images(data) == lengths(data)


def test_a_folder_is_walked_once_a_process(composed, roots, tmp_path, monkeypatch):
    shutil.copytree(roots["imagefolder"], tmp_path / "images")
    walked, walk = [], facts.os.walk
    monkeypatch.setattr(facts.os, "walk", lambda *a, **k: walked.append(a) or walk(*a, **k))
    readings = []
    for _ in range(3):
        data = prepare(composed("data=imagefolder", f"data.root={tmp_path / 'images'}")).data
        readings.append((facts.num_images(data), facts.identity(data), len(walked)))
    assert readings[0] == readings[1] == readings[2] and readings[0][0] == {"train": 3, "val": 3}


def test_imagenet_has_its_published_size_and_is_not_walked(composed, roots, monkeypatch):
    data = prepare(composed("data=imagenet1k", f"data.root={roots['imagenet1k']}")).data
    monkeypatch.setattr(facts.os, "walk", None)
    assert facts.num_images(data) == {"train": 1_281_167, "val": 50_000}
    assert facts.num_images(replace(data, val_fraction=0.01)) == {
        "train": 1_281_167 - 12_812,
        "val": 12_812,
        "test": 50_000,
    }


def test_the_cost_does_not_need_torch():
    program = (
        "import sys\n"
        "from hydra import compose, initialize_config_dir\n"
        "from crate.config import schema\n"
        "from crate.paths import CONF\n"
        "from crate.tasks.identity import prepare\n"
        "from crate.cost import cost\n"
        "from crate.data.facts import num_images\n"
        "schema.register()\n"
        "with initialize_config_dir(str(CONF), version_base='1.3'):\n"
        "    config = prepare(compose('config', overrides=[]))\n"
        "assert cost(config, num_images).train_flops > 0\n"
        "print({'torch', 'timm', 'torchvision', 'sklearn'} & set(sys.modules))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.stdout == "set()\n", done.stdout + done.stderr
