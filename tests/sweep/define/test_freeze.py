"""Points are composed once for each choice of groups, with the same result as from Hydra."""

from __future__ import annotations

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from crate.config.label import label
from crate.config.schema import Sweep
from crate.errors import UserError
from crate.paths import CONF
from crate.sweep.define.compose import Composer
from crate.sweep.define.files import read, register, sweep_files
from crate.sweep.define.freeze import freeze
from crate.sweep.define.points import points
from crate.sweep.define.typed import fixed_overrides
from crate.tasks.identity import prepare


@pytest.fixture
def master():
    """Return a function that gives Hydra's configuration of typed overrides, and its loader."""
    register([])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()

        def composed(*typed: str):
            return loader.load_configuration("config", list(typed), RunMode.MULTIRUN), loader

        yield composed


@pytest.mark.parametrize(
    "point",
    [
        ["model.sparsity=0.3", "seed=2"],
        ["model=crate_tiny", "data=fashion_mnist", "data.root=/x", "train.epochs=3"],
        ["experiment=paper", "data=imagenet1k", "data.root=/x", "optimizer.lr=1e-3"],
        ["optimizer=lion", "optimizer.betas=[0.8,0.9]", "model.img_size=[16,16]"],
        ["model=timm", "model.kwargs.model_name=resnet18", "+model.kwargs.drop_rate=0.1"],
        ["schedule.warmup_epochs=${train.epochs}", "train.epochs=3"],
        ["tracker=wandb", "+tracker.swept={a: 1}", "sweep=sparsity"],
    ],
)
def test_a_composed_point_is_what_hydra_composes(master, point):
    cfg, loader = master()
    composer = Composer(cfg, loader)
    for _ in range(2):  # the second reuses what the first composed
        ours, choices = composer.compose(point)
        theirs = loader.load_sweep_config(cfg, point)
        assert choices == OmegaConf.to_container(theirs.hydra.runtime.choices)
        with open_dict(theirs):
            del theirs["hydra"]
        assert ours == theirs and OmegaConf.get_type(ours.model) is OmegaConf.get_type(theirs.model)


def test_one_point_leaves_nothing_in_the_next(master):
    cfg, loader = master()
    typed = [["model.sparsity=0.3"], ["model.step_size=0.3"], ["model.sparsity=0.3"]]
    first, second, third = freeze(typed, cfg, loader)
    assert second.config.model.sparsity == 0.1 and third.config.model.step_size == 0.1
    assert first.signature == third.signature != second.signature


def test_swept_are_the_values_that_differ_and_fixed_those_typed_for_all(master):
    typed = ["sweep=demo", "optimizer.lr=1e-4,1e-3", "seed=7", "train.batch_size=64"]
    cfg, loader = master(*typed)
    sweep = OmegaConf.to_object(cfg.sweep)
    frozen = freeze(points(sweep, typed), cfg, loader)
    assert len(frozen) == 8
    assert frozen[-1].swept == {
        "model.sparsity": 0.5,
        "model.step_size": 0.5,
        "optimizer.lr": 1e-3,
        "seed": 7,
    }
    assert fixed_overrides(cfg) == ["sweep=demo", "train.batch_size=64"]


def test_wandb_gets_what_is_swept_and_what_was_published_of_it(master):
    typed = ["sweep=step_size", "tracker=wandb", "model=crate_base"]
    cfg, loader = master(*typed)
    frozen = freeze(points(OmegaConf.to_object(cfg.sweep), typed), cfg, loader)
    trackers = {p.config.model.step_size: p.config.tracker for p in frozen}
    assert trackers[0.5].swept == {"model.step_size": 0.5, "seed": 0}
    assert trackers[0.5].published["val/top1"] == 66.7
    assert trackers[0.1].published["val/top1"] == 70.8


def test_every_mistake_of_every_point_is_reported_once(master):
    cfg, loader = master()
    wrong = [["model.num_heads=5"], ["model.sparsity=-1"], ["model.sparsity=-1"], ["modle=x"]]
    with pytest.raises(UserError) as caught:
        freeze(wrong, cfg, loader)
    assert len(caught.value.errors) == 3
    with pytest.raises(UserError, match="15 more points cannot be run either"):
        freeze([[f"nope{n}=1"] for n in range(35)], cfg, loader)


def test_evaluation_is_not_for_a_launcher(master):
    cfg, loader = master()
    with pytest.raises(UserError, match="hydra/launcher=basic"):
        freeze([["task=evaluate", "checkpoint=/x"]], cfg, loader)


def test_published_rows_name_points_of_their_sweep():
    for name, file in sweep_files([]).items():
        sweep = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Sweep), read(file)))
        assert bool(sweep.published) == bool(sweep.source), name


def test_a_label_names_swept_values_first_and_cuts_none(composed):
    typed = ["model.embed_dim=96", "model.sparsity=0.123456", "data.workers=4", "seed=7"]
    config = prepare(composed(*typed))
    choices = {"model": "crate_nano", "data": "digits", "optimizer": "adamw"}
    assert label(config, choices, typed) == ("crate_nano-embed_dim96-sparsity0.123456-seed7-digits")
    swept = ["seed", "model.sparsity"]
    assert label(config, choices, typed, swept).startswith("crate_nano-seed7-sparsity0.123456-")
    long = [f"init_from=/folder/{'x' * 70}.pt", *typed]
    words = label(config, choices, long, ["init_from", *swept])
    assert words == "crate_nano-seed7-sparsity0.123456-embed_dim96-digits"
    group = label(config, choices, ["optimizer=lion", "init_from=/a/best.pt"], ["init_from"])
    assert group == "crate_nano-init_from_best.pt-lion-digits"


def test_interpolations_in_fixed_overrides_stay_as_typed(master):
    cfg, _ = master("train.epochs=${seed}", "outputs=${oc.env:NO_SUCH}")
    assert fixed_overrides(cfg) == ["train.epochs=${seed}", "outputs=${oc.env:NO_SUCH}"]
