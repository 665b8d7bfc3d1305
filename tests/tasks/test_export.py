"""timm loads an export and gets exactly the run's logits; an export is complete or absent."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors.torch import load_file

from crate.errors import UserError
from crate.model import CRATE
from crate.tasks import export as export_checkpoint
from crate.tasks.export import FILES
from crate.tasks.export import export_checkpoint as export
from crate.tasks.identity import prepare
from crate.train.checkpoints import checkpoint
from crate.train.setup import build_model
from tests.launching import TINY, launch, run_folder


def saved(composed, path, *typed):
    """Write the checkpoint of a small run; return its model."""
    from dataclasses import asdict

    config = prepare(composed(*typed))
    torch.manual_seed(1)
    model = build_model(config, torch.device("cpu")).eval()
    values = {"model": model.state_dict(), "config": asdict(config), "step": 9}
    checkpoint.write(path, values | {"signature": "0123", "metrics": {"val/top1": 50.0}})
    return model


def logits(model, size):
    torch.manual_seed(2)
    with torch.no_grad():
        return model(torch.randn(3, *size))


MODELS = {
    "crate_nano": (["model.embed_dim=24", "model.depth=2", "model.sparsity=0.3"], (1, 16, 16)),
    "crate_tiny": (["data.img_size=[16,32]", "model.head_dim=8", "model.depth=2"], (1, 16, 32)),
    "crate_small": (["model.step_size=0.05", "model.global_pool=avg"], (1, 16, 16)),
    "vit_tiny": (["model.global_pool=avg", "model.depth=2"], (1, 16, 16)),
    "vit_small": (["model.depth=1"], (1, 16, 16)),
    "timm model.kwargs.model_name=resnet10t": ([], (1, 16, 16)),
}


@pytest.mark.parametrize("name", MODELS)
def test_timm_loads_it_both_ways_with_the_same_logits(composed, tmp_path, name):
    changes, size = MODELS[name]
    path = tmp_path / "best.pt"
    expected = logits(saved(composed, path, *f"model={name}".split(), *changes), size)
    folder = export(composed("task=export", f"checkpoint={path}"), [])
    assert folder == tmp_path / "best-export"
    assert sorted(each.name for each in folder.iterdir()) == sorted(FILES)
    entries = json.loads((folder / "config.json").read_text())
    weights = str(folder / "model.safetensors")
    ours = timm.create_model(
        entries["architecture"], checkpoint_path=weights, **entries["model_args"]
    )
    assert torch.equal(logits(ours.eval(), size), expected)
    local = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert torch.equal(logits(local.eval(), size), expected)
    assert entries["pretrained_cfg"]["input_size"] == list(size)
    assert entries["crate"]["step"] == 9 and entries["crate"]["signature"] == "0123"


def test_it_may_be_fine_tuned_from(composed, tmp_path):
    path = tmp_path / "best.pt"
    model = saved(composed, path, "model.depth=1")
    folder = export(composed("task=export", f"checkpoint={path}"), [])
    from crate.train.checkpoints.initialize import initialize

    other = build_model(prepare(composed("model.depth=1")), torch.device("cpu"))
    initialize(other, folder / "model.safetensors", {})
    assert all(map(torch.equal, other.state_dict().values(), model.state_dict().values()))


def test_an_export_does_not_need_the_data(composed, roots, tmp_path):
    root = f"data.root={roots['imagefolder']}"
    path = tmp_path / "x.pt"
    saved(composed, path, "data=imagefolder", root, "data.img_size=32", "model.depth=1")
    values = torch.load(path)
    values["config"]["data"]["root"] = "/nowhere"
    checkpoint.write(path, values)
    folder = export(composed("task=export", f"checkpoint={path}"), [])
    assert json.loads((folder / "config.json").read_text())["num_classes"] == 3


def test_the_user_chooses_the_folder_and_it_holds_only_an_export(composed, tmp_path):
    path = tmp_path / "best.pt"
    saved(composed, path, "model.depth=1")
    target = tmp_path / "a" / "folder"
    typed = ("task=export", f"checkpoint={path}", f"export_to={target}")
    assert export(composed(*typed), []) == target
    first = load_file(target / FILES[0])
    assert export(composed(*typed), []) == target  # an earlier export is replaced
    assert all(
        torch.equal(first[name], each) for name, each in load_file(target / FILES[0]).items()
    )
    (target / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds something other than an export"):
        export(composed(*typed), [])
    assert (target / "thesis.tex").read_text() == "mine"


def test_an_export_is_complete_or_absent(composed, tmp_path, monkeypatch):
    path = tmp_path / "best.pt"
    saved(composed, path, "model.depth=1")
    typed = ("task=export", f"checkpoint={path}")

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export_checkpoint.json, "dumps", full)
        with pytest.raises(UserError, match="No space left on device"):
            export(composed(*typed), [])
        assert [each.name for each in tmp_path.iterdir()] == ["best.pt"]
    folder = export(composed(*typed), [])
    before = (folder / "config.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(export_checkpoint.json, "dumps", full)
        with pytest.raises(UserError):
            export(composed(*typed), [])
    assert (folder / "config.json").read_text() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best-export", "best.pt"]


def test_a_model_that_timm_does_not_know_is_exported_with_its_class(
    composed, tmp_path, caplog, monkeypatch
):
    """The weights may share memory, which safetensors refuses."""
    (tmp_path / "tied_weights.py").write_text(
        "import torch\n"
        "class Tied(torch.nn.Linear):\n"
        "    def __init__(self, inputs, outputs):\n"
        "        super().__init__(inputs, outputs)\n"
        "        self.same = self.weight\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from tied_weights import Tied

    path, model = tmp_path / "best.pt", Tied(4, 10)
    saved(composed, path)
    values = torch.load(path) | {"model": model.state_dict()}
    given = {"inputs": 4, "outputs": 10}
    values["config"]["model"] = {"_target_": "tied_weights.Tied", "kwargs": given}
    checkpoint.write(path, values)
    with caplog.at_level("INFO", "crate"):
        folder = export(composed("task=export", f"checkpoint={path}"), [])
    entries = json.loads((folder / "config.json").read_text())
    assert entries["target"] == "tied_weights.Tied" and entries["model_args"] == given
    assert f'sys.path.insert(0, "{tmp_path}")' in caplog.text and "pip install" not in caplog.text
    model.load_state_dict(load_file(folder / FILES[0]))  # as the printed lines do


def test_class_names_are_exported_of_the_checkpoint_or_of_the_folder(composed, roots, tmp_path):
    path, root = tmp_path / "x.pt", f"data.root={roots['imagefolder']}"
    saved(composed, path, "data=imagefolder", root, "data.img_size=32", "model.depth=1")
    folder = export(composed("task=export", f"checkpoint={path}"), [])
    names = [f"n{number:08d}" for number in range(3)]
    assert json.loads((folder / "config.json").read_text())["label_names"] == names
    checkpoint.write(path, torch.load(path) | {"label_names": ["a", "b", "c"]})
    folder = export(composed("task=export", f"checkpoint={path}"), [])
    local = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert local.pretrained_cfg["label_names"] == ["a", "b", "c"]


def test_bare_weights_are_exported_as_configured(composed, tmp_path):
    torch.manual_seed(0)
    model = CRATE(embed_dim=384, depth=1, num_heads=6, num_classes=5).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    typed = ("model=crate_tiny", "model.depth=1", "data=imagefolder", "data.num_classes=5")
    folder = export(
        composed("task=export", f"checkpoint={tmp_path / 'w.pt'}", "data.root=/nowhere", *typed), []
    )
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert torch.equal(logits(loaded, (3, 224, 224)), logits(model, (3, 224, 224)))


def test_the_command_exports_a_run(tmp_path):
    assert launch(*TINY, "train.epochs=1", "train.ema=0.9", f"outputs={tmp_path}").returncode == 0
    best = run_folder(tmp_path) / "checkpoints" / "best.pt"
    done = launch("task=export", f"checkpoint={best}", f"export_to={tmp_path / 'mine'}")
    assert done.returncode == 0, done.stderr
    assert f"exported to {tmp_path / 'mine'}: model.safetensors, config.json" in done.stdout
    assert "running mean of the weights (val/ema_*) is not exported" in done.stdout
    weights = torch.load(best)["model"]
    exported = load_file(tmp_path / "mine" / "model.safetensors")
    assert weights.keys() == exported.keys()
    assert all(torch.equal(weights[name], exported[name]) for name in weights)
