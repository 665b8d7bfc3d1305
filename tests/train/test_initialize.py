"""Fine-tuning starts from any checkpoint and reports how each weight was used."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from crate.errors import UserError
from crate.model import CRATE
from crate.tasks.identity import prepare
from crate.train.checkpoints.initialize import initialize
from crate.train.setup import build
from tests.launching import TINY, launch, run_folder
from tests.made import official_names

TOY = {"patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3}
SMALL = [f"model.{key}={value}" for key, value in TOY.items() if key != "patch_size"]


def trained(classes=7, img_size=16, **changes):
    torch.manual_seed(5)
    return CRATE(**(TOY | {"img_size": img_size, "num_classes": classes} | changes))


def run_checkpoint(path):
    weights = trained().state_dict()
    model = {"img_size": 16, "num_classes": 7, "sparsity": 0.5, "global_pool": "token"} | TOY
    torch.save({"model": weights, "config": {"model": model}, "step": 3}, path)


def official(prefix="", wrapper="state_dict"):
    def save(path):
        names = official_names(depth=2)
        weights = {prefix + names[name]: w for name, w in trained().state_dict().items()}
        torch.save({wrapper: weights, "epoch": 3, "optimizer": {}} if wrapper else weights, path)

    return save


KINDS = {
    "a run's": (run_checkpoint, "a checkpoint of a run", ".pt"),
    "the authors'": (official(), "the authors' checkpoint", ".pth"),
    "the authors' from many GPUs": (official("module."), "the authors' checkpoint", ".pth"),
    "the authors' fine-tuned": (official("module.", "model"), "the authors' checkpoint", ".t7"),
    "the authors' bare": (official("", None), "the authors' checkpoint", ".pt"),
    "bare": (lambda path: torch.save(trained().state_dict(), path), "bare weights", ".pt"),
    "safetensors": (lambda path: save_file(trained().state_dict(), path), "bare", ".safetensors"),
    "timm's training script": (
        lambda path: torch.save({"state_dict": trained().state_dict(), "arch": "crate"}, path),
        "weights under 'state_dict'",
        ".pth.tar",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_checkpoint_is_fine_tuned_and_every_weight_is_reported(
    composed, roots, tmp_path, kind
):
    save, origin, suffix = KINDS[kind]
    path = tmp_path / f"weights{suffix}"
    save(path)
    typed = ["experiment=finetune_pets", *SMALL, "model.patch_size=8", "device=cpu"]
    typed += [f"data.root={roots['pets']}", "data.img_size=32", "data.workers=0"]
    config = prepare(composed(*typed, f"init_from={path}"))
    scratch = build(prepare(composed(*typed)), {}).learner.model
    setup = build(config, {})
    given, ours, fresh = (model.state_dict() for model in (trained(), setup.learner.model, scratch))
    for name, weight in ours.items():
        if name.startswith("head."):
            assert weight.shape[0] == 37 and torch.equal(weight, fresh[name])
        elif name != "pos_embed":
            assert torch.equal(weight, given[name]), name
    first, *changed = setup.notes
    assert first.startswith(f"loaded {len(given) - 3} of {len(given)} weights of {path.name}")
    assert origin in first and "layers.{0,1}.ista.dictionary" in first
    assert "pos_embed" not in first and "head." not in first
    assert changed[:3] == [
        "pos_embed: 2 x 2 interpolated (bicubic) to 4 x 4",
        "head.weight: replaced, 7 x 12 by a fresh 37 x 12",
        "head.bias: replaced, 7 by a fresh 37",
    ]
    trained_with = ["trained with model.sparsity=0.5, and here it is 0.1"]
    assert changed[3:] == (trained_with if kind == "a run's" else [])


def test_a_head_of_as_many_classes_is_loaded(tmp_path):
    torch.save(trained().state_dict(), tmp_path / "w.pt")
    model = trained()
    torch.nn.init.zeros_(model.head.weight)
    (note,) = initialize(model, tmp_path / "w.pt", {})
    assert torch.equal(model.head.weight, trained().head.weight) and "head.weight" in note


def test_the_positions_of_a_runs_rectangle_are_known_from_its_configuration(tmp_path):
    weights = trained(img_size=(16, 48)).state_dict()
    model = {"img_size": [16, 48], "patch_size": 8}
    torch.save({"model": weights, "config": {"model": model}}, tmp_path / "w.pt")
    notes = initialize(trained(), tmp_path / "w.pt", {})
    assert "pos_embed: 2 x 6 interpolated (bicubic) to 2 x 2" in notes


def spoilt(change):
    weights = trained().state_dict()
    change(weights)
    return weights


MISFITS = {
    "missing": (lambda w: w.pop("layers.1.norm2.bias"), "missing (1): layers.1.norm2.bias"),
    "no head": (lambda w: w.pop("head.bias"), "missing (1): head.bias"),
    "unknown": (lambda w: w.update(extra=torch.zeros(1)), "unexpected (1): extra"),
    "another width": (
        lambda w: w.update({"head.weight": torch.zeros(7, 5)}),
        "head.weight given 7 x 5",
    ),
    "an optimizer": (lambda w: w.update(optimizer={"lr": 1}), "alone: optimizer"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_weights_that_do_not_fit_are_refused_and_the_model_is_unchanged(tmp_path, kind):
    change, message = MISFITS[kind]
    torch.save(spoilt(change), tmp_path / "w.pt")
    model = trained(classes=4)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(UserError, match=re.escape(message)):
        initialize(model, tmp_path / "w.pt", {})
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


@pytest.mark.parametrize(("name", "option"), [("tiny", "vit_tiny"), ("small", "vit_small")])
def test_timms_vit_initializes_our_vit_but_not_crate(composed, roots, tmp_path, name, option):
    theirs = timm.create_model(f"vit_{name}_patch16_224", num_classes=3)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    typed = ["experiment=finetune_flowers", f"data.root={roots['flowers']}", "device=cpu"]
    typed += [f"init_from={tmp_path / 'vit.pth'}", "data.workers=0"]
    setup = build(prepare(composed(*typed, f"model={option}")), {})
    ours = setup.learner.model.state_dict()
    for key, weight in theirs.state_dict().items():
        assert (
            ours[key].shape[0] == 102 if key.startswith("head.") else torch.equal(ours[key], weight)
        )
    assert setup.notes[1:] == [
        f"head.weight: replaced, 3 x {theirs.embed_dim} by a fresh 102 x {theirs.embed_dim}",
        "head.bias: replaced, 3 by a fresh 102",
    ]
    with pytest.raises(UserError, match="weights of a ViT.*no place in CRATE") as caught:
        build(prepare(composed(*typed, "model=crate_tiny")), {})
    assert "model=vit_tiny or model=vit_small" in str(caught.value)


def test_weights_of_crate_do_not_initialize_a_vit(tmp_path):
    torch.save(trained().state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match="weights of CRATE, and the model is another"):
        initialize(timm.create_model("vit_tiny_patch16_224"), tmp_path / "w.pt", {})


def test_a_torn_safetensors_file_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"1234567890")
    with pytest.raises(UserError, match=r"w.safetensors is torn or no checkpoint"):
        initialize(trained(), tmp_path / "w.safetensors", {})


def test_a_run_is_fine_tuned_on_another_set_and_its_log_says_how(roots, tmp_path):
    typed = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "device=cpu")
    assert launch(*typed, f"outputs={tmp_path / 'one'}").returncode == 0
    best = run_folder(tmp_path / "one") / "checkpoints" / "best.pt"
    other = ("data=imagefolder", f"data.root={roots['imagefolder']}", "data.in_chans=1")
    other += ("data.mean=[0.5]", "data.std=[0.5]", "data.img_size=32", "data.workers=0")
    done = launch(*typed, *other, f"init_from={best}", f"outputs={tmp_path / 'two'}")
    assert done.returncode == 0, done.stderr
    log = (run_folder(tmp_path / "two") / "log").read_text()
    assert "weights of best.pt, a checkpoint of a run: cls_token" in log
    assert "pos_embed: 2 x 2 interpolated (bicubic) to 4 x 4" in log
    assert "head.weight: replaced, 10 x 16 by a fresh 3 x 16" in log
