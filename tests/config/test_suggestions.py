"""Suggestions of a data set are fitted to the other choices; typed values are only checked."""

from __future__ import annotations

from itertools import product

import pytest

from crate.config import suggestions
from crate.config.check import typed
from crate.config.signature import signature
from crate.errors import UserError
from crate.paths import CONF
from crate.tasks.identity import prepare
from tests.config.test_config import placed


@pytest.fixture
def lines(caplog):
    """Return a function that gives the lines logged since the test began."""
    suggestions._log_once.cache_clear()
    caplog.set_level("INFO", logger="crate")
    return lambda: caplog.messages


def value(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


# Overrides -> the key whose suggested value changes, what it becomes, and why.
FITTED = {
    "data=cifar10 train.epochs=1": ("schedule.warmup_epochs", 0.1, "more than train.epochs=1"),
    "data=cifar10 train.epochs=4": ("schedule.warmup_epochs", 0.4, "more than train.epochs=4"),
    "data=imagenet1k data.img_size=100": ("model.patch_size", 20, "does not divide"),
    "data=imagenet1k data.img_size=[96,40]": ("model.patch_size", 8, "does not divide"),
    "data=cifar10 data.img_size=30": ("model.patch_size", 3, "does not divide"),
    "data=digits data.img_size=224": ("model.patch_size", 4, "12,545 tokens"),
    "data=imagenet1k data.img_size=8": ("model.patch_size", 4, "does not divide"),
    "data=digits data.img_size=1": ("model.patch_size", 1, "does not divide"),
    "data.suggested.patch_size=[4,2] data.img_size=[18,16]": ("model.patch_size", [3, 2], "does"),
}


@pytest.mark.parametrize("overrides", FITTED)
def test_a_suggestion_is_fitted_and_reported(overrides, composed, lines):
    key, fitted, why = FITTED[overrides]
    words = overrides.split()
    words += ["data.root=null"] if "imagenet1k" in overrides else []
    cfg = composed(*words)
    if "imagenet1k" in overrides:  # no files here: only the configuration is asked
        suggestions.fit(cfg, lambda most: None)
        config = typed(placed(cfg))
    else:
        config = prepare(cfg)
    assert value(config, key) == fitted
    (line,) = lines()
    assert line.startswith(f"{key}={fitted}: the suggested ") and why in line


# Worked before, so their signatures must not move.
KEPT = ("", "train.epochs=1", "data=cifar10 train.epochs=5", "data.img_size=32", "data.img_size=2")
KEPT += ("data=cifar10 data.img_size=224 model.allow_long=true", "data.img_size=[16,8]")
KEPT += ("model=timm model.kwargs.model_name=resnet18 train.epochs=1",)
KEPT += ("schedule=authors data=cifar10 train.epochs=2",)


@pytest.mark.parametrize("overrides", KEPT)
def test_a_suggestion_that_fits_is_kept(overrides, composed, lines):
    before = signature(typed(composed(*overrides.split())))
    assert signature(prepare(composed(*overrides.split()))) == before and not lines()


def test_no_shipped_choice_is_changed(composed, lines):
    names = [file.stem for file in (CONF / "data").glob("*.yaml")]
    for model, data in product(("crate_nano", "vit_tiny", "timm"), names):
        cfg = placed(composed(f"model={model}", f"data={data}"))
        suggested = dict(cfg.data.suggested)
        suggestions.fit(cfg, lambda most: None)
        assert dict(cfg.data.suggested) == suggested
    for file in (CONF / "experiment").glob("*.yaml"):
        cfg = placed(composed(f"experiment={file.stem}"))
        suggestions.fit(cfg, lambda most: None)
    assert not lines()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Image folders by their number of training images; no file is opened before training."""
    made = {}
    for count in (20, 300, 768, 769):
        made[count] = tmp_path_factory.mktemp(f"images{count}")
        for split, name in product(("train", "val"), ("cat", "dog")):
            (made[count] / split / name).mkdir(parents=True)
            for number in range(count // 2 + (count % 2 and name == "cat")):
                (made[count] / split / name / f"{number}.jpg").touch()
    return made


BATCHES = {  # images, overrides -> the batch
    (769, ""): 256,
    (768, ""): 64,
    (300, ""): 32,
    (20, ""): 8,
    (769, "data.val_fraction=0.5"): 32,
    (300, "train.accumulation_steps=64"): 64,
    (300, "train.batch_size=256"): 256,
}


@pytest.mark.parametrize(("count", "overrides"), BATCHES)
def test_a_small_folder_has_a_small_batch(count, overrides, folders, composed, lines):
    words = ["data=imagefolder", f"data.root={folders[count]}", *overrides.split()]
    config = prepare(composed(*words))
    assert config.train.batch_size == BATCHES[count, overrides]
    assert len(lines()) == (config.train.batch_size != 256) + (count == 20)
    assert config.train.epochs == (334 if count == 20 else 100)  # of 3 steps: 1,002 in all


def test_what_is_typed_is_checked(composed):
    for words, message in (
        (["data=cifar10", "train.epochs=1", "schedule.warmup_epochs=2"], "at most 1 epochs"),
        (["data=cifar10", "data.img_size=30", "model.patch_size=4"], "model.patch_size=3"),
        (["data=cifar10", "data.img_size=97"], "data.img_size=96"),
        (["data=cifar10", "train.epochs=0"], "train.epochs=0"),
        (["data=cifar10", "data.img_size=x"], "data.img_size=x"),
    ):
        with pytest.raises(UserError) as error:
            prepare(composed(*words))
        assert message in str(error.value)


def test_a_change_is_reported_once_for_all_points_of_a_sweep(composed, lines):
    for seed in range(3):
        prepare(composed("data=cifar10", "train.epochs=1", f"seed={seed}"))
    assert len(lines()) == 1
