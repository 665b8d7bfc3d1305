"""A user's own targets on the package's schemas have one more argument and keep all others."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from crate.config.checks.parameters import full_signature
from crate.config.label import known_keys
from crate.config.schema import CRATE, SCHEMAS, Cosine, dump, restore
from crate.config.signature import signature
from crate.config.target import arguments, call
from crate.cost import cost
from crate.errors import UserError
from crate.tasks.checkpoint.config import stored
from crate.tasks.identity import prepare, signature_of
from crate.train.checkpoints import checkpoint
from crate.train.optimizers.optimizer import build_optimizer
from tests.launching import TINY, launch, status

CODE = '''
import torch
from torch.optim import AdamW

from crate.data.digits import Digits
from crate.data.transforms import flip_crop
from crate.model import CRATE
from crate.tracking.wandb import Wandb
from crate.train.schedule import cosine


class GatedCRATE(CRATE):
    """CRATE whose tokens are scaled before the head."""

    def __init__(self, *args, gate=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.gate = torch.nn.Parameter(torch.tensor(float(gate)))

    def forward_head(self, tokens, pre_logits=False):
        return super().forward_head(self.gate * tokens, pre_logits)


class SlowAdamW(AdamW):
    def __init__(self, params, lr, betas, eps, brake):
        super().__init__(params, lr=lr / brake, betas=betas, eps=eps)


class FewDigits(Digits):
    def __init__(self, split, count):
        super().__init__(split)
        self.images, self.labels = self.images[:count], self.labels[:count]


def floored(total_steps, steps_per_epoch, warmup_epochs, floor):
    factor = cosine(total_steps, steps_per_epoch, warmup_epochs)
    return lambda step: max(floor, factor(step))


def dark(img_size, min_scale, flip_prob, by):
    transform = flip_crop(img_size, min_scale, flip_prob)
    return lambda image: transform(image) // by


class MyWandb(Wandb):
    def __init__(self, *, colour, **kwargs):
        super().__init__(**kwargs)
'''
# group: (the option that it builds on, the target, its new argument, a value)
OWN = {
    "model": ("crate_nano", "GatedCRATE", "gate", 0.25),
    "optimizer": ("adamw", "SlowAdamW", "brake", 4.0),
    "data": ("digits", "FewDigits", "count", 64),
    "schedule": ("cosine", "floored", "floor", 0.5),
    "augment": ("flip_crop", "dark", "by", 2),
    "tracker": ("wandb", "MyWandb", "colour", "blue"),
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Return a folder with two options per group: `own`, by a key, and `own_kwargs`, by kwargs."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_targets.py").write_text(CODE)
    for group, (option, target, key, value) in OWN.items():
        (folder / group).mkdir()
        head = f"defaults: [{option}, _self_]\n_target_: my_targets.{target}\n"
        (folder / group / "own.yaml").write_text(f"{head}{key}: {value}\n")
        (folder / group / "own_kwargs.yaml").write_text(f"{head}kwargs: {{{key}: {value}}}\n")
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def own(composed, mine):
    """Return a function that composes with `mine`, and checks: own("model=own") -> Config."""
    search = f"hydra.searchpath=[file://{mine}]"
    return lambda *overrides: prepare(composed(search, *overrides))


@pytest.mark.parametrize("group", OWN)
def test_a_new_argument_is_a_key_or_among_the_kwargs(own, composed, group):
    option, _, key, value = OWN[group]
    config, by_kwargs = own(f"{group}=own"), own(f"{group}=own_kwargs")
    assert config == by_kwargs and signature(config) == signature(by_kwargs)
    node, base = getattr(config, group), getattr(prepare(composed(f"{group}={option}")), group)
    assert node.is_own and not base.is_own and type(node) is type(base)
    assert arguments(node) == arguments(base) | {key: value}
    for typed in (f"{group}.{key}=7", f"{group}.kwargs.{key}=7"):
        option = "own" if "kwargs" not in typed else "own_kwargs"
        assert arguments(getattr(own(f"{group}={option}", typed), group))[key] == 7


def test_a_target_on_the_base_schema_takes_its_arguments_as_keys_too(composed, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "model" / "linear.yaml").write_text(
        "_target_: torch.nn.Linear\nin_features: 256\nout_features: ${data.num_classes}\n"
    )
    (tmp_path / "optimizer" / "adagrad.yaml").write_text(
        "_target_: torch.optim.Adagrad\nlr: 0.1\nweight_decay: 0\nlr_decay: 0.1\n"
    )
    typed = (f"hydra.searchpath=[file://{tmp_path}]", "model=linear", "optimizer=adagrad")
    config = prepare(composed(*typed, "model.in_features=64", "optimizer.eps=0.5"))
    assert config.model.kwargs == {"in_features": 64, "out_features": 10}
    assert config.optimizer.kwargs == {"lr_decay": 0.1, "eps": 0.5} and config.optimizer.lr == 0.1
    assert OmegaConf.to_object(restore(dump(config))) == config


@pytest.mark.parametrize("group", OWN)
def test_it_is_stored_and_restored_as_it_was(own, group):
    config = own(f"{group}=own")
    stored = dump(config)
    assert OmegaConf.to_object(restore(stored)) == config
    assert type(getattr(OmegaConf.to_object(restore(stored)), group)) is type(
        getattr(config, group)
    )


def test_the_schema_of_every_node_is_stored_by_name(own, composed):
    names = dump(own("model=own"))["schemas"]
    assert names.keys() == SCHEMAS.keys() and names["model"] == "CRATE"
    timm = dump(prepare(composed("model=timm", "model.kwargs.model_name=vit_tiny_patch16_224")))
    assert timm["schemas"]["model"] == "Model" and timm["schemas"]["optimizer"] == "AdamW"


@pytest.mark.parametrize("group", OWN)
def test_a_configuration_without_names_of_built_in_schemas_is_read(own, composed, group):
    """Earlier versions stored the name of a schema only if the target did not determine it."""
    config = own(f"{group}=own")
    stored = dump(config)
    stored["schemas"] = {group: stored["schemas"][group]}
    assert OmegaConf.to_object(restore(stored)) == config
    built_in = prepare(composed(f"{group}={OWN[group][0]}"))
    stored = dump(built_in)
    del stored["schemas"]
    assert OmegaConf.to_object(restore(stored)) == built_in


def test_a_subclass_without_the_name_of_its_schema_is_read(own):
    """Still earlier versions stored no name at all; the keys of the node determine its schema."""
    config = own("model=own")
    config.model.kwargs = {}
    stored = dump(config)
    del stored["schemas"]
    assert OmegaConf.to_object(restore(stored)) == config


def test_the_stored_configuration_of_an_earlier_run_is_read():
    """Check a file that an earlier version wrote, with the signature that it gave to the run."""
    stored = yaml.safe_load((Path(__file__).parent / "stored_earlier.yaml").read_text())
    config = OmegaConf.to_object(restore(stored))
    assert type(config.model) is CRATE and type(config.schedule) is Cosine
    assert not config.model.is_own and config.model.sparsity == 0.05
    assert signature_of(config) == "e2c36eb9d29d"


def test_an_unknown_schema_name_is_refused(composed):
    stored = dump(prepare(composed()))
    stored["schemas"]["model"] = "Folder"
    with pytest.raises(ValidationError, match="schemas.model=Folder"):
        restore(stored)


def test_a_class_of_ours_on_a_base_schema_is_restored_as_the_users_own(composed, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "plain.yaml").write_text(
        "_target_: crate.model.CRATE\n"
        "kwargs: {img_size: 16, patch_size: 8, in_chans: 1, num_classes: 10, embed_dim: 8,"
        " depth: 1, num_heads: 1}\n"
    )
    config = prepare(composed(f"hydra.searchpath=[file://{tmp_path}]", "model=plain"))
    assert OmegaConf.to_object(restore(dump(config))) == config


def test_everything_is_built_with_the_new_argument(own):
    config = own(*(f"{group}=own" for group in OWN if group != "tracker"), *TINY)
    model = call(config.model)
    assert model.gate.item() == 0.25 and len(model.layers) == 2
    optimizer = build_optimizer(config.optimizer, model, True)
    assert optimizer.param_groups[0]["lr"] == config.optimizer.lr / 4
    assert len(call(config.data, split="train")) == 64
    factor = call(config.schedule, total_steps=10, steps_per_epoch=5)
    assert factor(9) == 0.5
    image = torch.full((1, 16, 16), 100, dtype=torch.uint8)
    assert call(config.augment, img_size=(16, 16))(image).max() <= 50


def test_a_checkpoint_is_read_with_an_own_model_in_its_place(composed, mine, tmp_path):
    checkpoint.write(tmp_path / "x.pt", {"model": {}, "config": dump(prepare(composed()))})
    typed = ("task=evaluate", f"checkpoint={tmp_path / 'x.pt'}", "model=own", "model.gate=3")
    cfg, *_ = stored(composed(f"hydra.searchpath=[file://{mine}]", *typed), list(typed))
    assert prepare(cfg).model.kwargs == {"gate": 3}
    checkpoint.write(tmp_path / "x.pt", {"model": {}, "config": dump(prepare(cfg))})
    typed = ("task=evaluate", f"checkpoint={tmp_path / 'x.pt'}", "model.gate=4")
    cfg, *_ = stored(composed(*typed), list(typed))
    assert prepare(cfg).model.kwargs == {"gate": 4}


def test_its_price_is_unknown_and_its_keys_are_known(own):
    config = own("model=own")
    assert cost(config).num_parameters is None
    assert {"model.gate", "model.kwargs.gate", "model.sparsity"} <= known_keys(config)


WRONG = {
    "misspelt": ("model=own +model.gat=1", ["does not take gat\n", "model.gate=VALUE"]),
    "of_the_base": ("model=own +model.dept=1", ["does not take dept\n", "model.depth=VALUE"]),
    "given_twice": ("model=own model.kwargs.gate=1", ["model.gate and model.kwargs.gate"]),
    "of_the_schema": ("model=own model.kwargs.depth=1", ["given by model.depth already"]),
    "of_the_platform": ("data=own data.kwargs.split=val", ["the platform passes split"]),
    "of_the_group": ("data=own +data.worker=1", ["does not take worker\n", "data.workers=VALUE"]),
    "not_found": ("model._target_=no_such.Net", ["cannot be imported", "--config-dir=FOLDER"]),
    "of_a_built_in": ("+model.gate=1", ["there is no key model.gate"]),
    "not_of_the_target": (
        "model._target_=torch.nn.Linear",
        ["does not take", "img_size", "without `defaults`"],
    ),
    "missing": ("optimizer=own ~optimizer.brake", ["missing a required argument: 'brake'"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_gets_a_clear_message(own, name):
    arguments, parts = WRONG[name]
    with pytest.raises(UserError) as error:
        own(*arguments.split())
    assert all(part in str(error.value) for part in parts), error.value


class _Closed:
    def __init__(self, a, b=2):
        pass


class _HandsOn(_Closed):
    def __init__(self, c, **kwargs):
        super().__init__(**kwargs)


class _HandsOnTwice(_HandsOn):
    def __init__(self, *args, d=4, **kwargs):
        super().__init__(*args, **kwargs)


class _Fixes(_Closed):
    def __init__(self, **kwargs):
        super().__init__(1, **kwargs)


class _FixesByName(_HandsOn):
    def __init__(self, **kwargs):
        super().__init__(1, b=3, **kwargs)


class _Uses(_Closed):
    def __init__(self, **kwargs):
        self.free = kwargs.pop("free", None)
        super().__init__(**kwargs)


class _WithoutInit(_HandsOn):
    pass


CLASSES = (_Closed, _HandsOn, _HandsOnTwice, _Fixes, _FixesByName, _Uses, _WithoutInit)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_signature_takes_what_the_class_takes(kind):
    """Compare every set of names with a real call; a class that uses its kwargs takes any name."""
    names = ["a", "b", "c", "d", "free", "x"]
    for number in range(2 ** len(names)):
        given = {name: 0 for bit, name in enumerate(names) if number >> bit & 1}
        assert _accepts(full_signature(kind).bind, given) or not _accepts(kind, given)
        if kind is not _Uses:
            assert _accepts(full_signature(kind).bind, given) == _accepts(kind, given), given


def _accepts(function, given):
    try:
        function(**given)
    except TypeError:
        return False
    return True


def test_a_subclass_trains_in_a_sweep_and_is_evaluated(mine, tmp_path):
    """Frozen by the launch, restored by the jobs and from a checkpoint."""
    typed = (f"--config-dir={mine}", f"outputs={tmp_path}", "model=own", *TINY, "train.epochs=1")
    typed += ("schedule.warmup_epochs=0", "device=cpu")
    plan = launch("-m", *typed, "model.gate=0.5,2", "hydra.launcher.plan=true")
    assert plan.returncode == 0 and "unknown" in plan.stdout, plan.stdout + plan.stderr
    done = launch("-m", *typed, "model.gate=0.5,2", "hydra.launcher.slots=1")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 2
    best = {path: path / "checkpoints" / "best.pt" for path in runs}
    configs = {path: torch.load(file)["config"] for path, file in best.items()}
    assert sorted(each["model"]["kwargs"]["gate"] for each in configs.values()) == [0.5, 2]
    path = runs[0]
    evaluated = launch(f"--config-dir={mine}", "task=evaluate", f"checkpoint={best[path]}")
    assert f"val/top1 {status(path)['best']:.4f}" in evaluated.stdout, (
        evaluated.stdout + evaluated.stderr
    )
    # Weights alone decide the gate, as a parameter; lambda enters from the command line.
    other = launch(
        f"--config-dir={mine}", "task=evaluate", f"checkpoint={best[path]}", "model.sparsity=3"
    )
    assert other.stdout.splitlines()[-1] != evaluated.stdout.splitlines()[-1]
    wrong = launch(
        f"--config-dir={mine}", "task=evaluate", f"checkpoint={best[path]}", "model.gat=1"
    )
    assert wrong.returncode == 1 and "does not take" in wrong.stderr


def test_all_groups_have_an_own_node_here():
    assert OWN.keys() == SCHEMAS.keys()
    assert all(
        any(entry.name == "kwargs" for entry in fields(kind))
        for kinds in SCHEMAS.values()
        for kind in kinds
    )
