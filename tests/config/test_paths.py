"""Relative paths: typed ones are in the current folder, those of YAML files beside those files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from crate.config.check import typed
from crate.config.commandline.typed_paths import make_arguments_absolute, path_keys
from crate.paths import CHECKOUT, absolute
from crate.sweep.define.naming import identity_of_fixed
from tests.launching import TINY, launch, run, run_folder, status

# What is typed in /here -> the values that Hydra reads from what replaces it.
TYPED = {
    "data.root=photos": ["/here/photos"],
    "+data.root=photos": ["/here/photos"],
    "data.root=../photos": ["/photos"],
    "data.root=/photos": ["/photos"],
    "data.root='my photos, (two)'": ["/here/my photos, (two)"],
    "data.root=it's (a folder)": ["/here/it's (a folder)"],
    "data.root=~/photos": [str(Path.home() / "photos")],
    "data.root=null": [None],
    "data.root=": [""],
    "checkpoint=outputs/runs/lr=1/best.pt": ["/here/outputs/runs/lr=1/best.pt"],
    "init_from=a.pt,/b.pt,null": ["/here/a.pt", "/b.pt", None],
    "init_from=choice(a.pt,'b c.pt')": ["/here/a.pt", "/here/b c.pt"],
    "export_to=exported": ["/here/exported"],
    "outputs=2024": ["/here/2024"],
    "outputs=1e400": ["/here/1e400"],
    "outputs=${oc.env:HOME}/runs": ["${oc.env:HOME}/runs"],
    "outputs=runs/${seed}": ["/here/runs/${seed}"],
    "data.cache=fast": ["/here/fast"],
    "data.cache=off": ["off"],
    "data.cache=True": [True],
    "sweep.grid.init_from=[a.pt,b.pt]": [["/here/a.pt", "/here/b.pt"]],
    "tracker.name=a/b": ["a/b"],
    "+data.kwargs.root=photos": ["photos"],
}


@pytest.mark.parametrize("text", TYPED)
def test_a_typed_path_is_in_the_current_folder(text):
    (replaced,) = make_arguments_absolute([text], Path("/here"))
    override = OverridesParser.create().parse_override(replaced)
    values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
    assert list(values) == TYPED[text], replaced
    assert make_arguments_absolute([replaced], Path("/elsewhere")) == [replaced]


def test_flags_keep_their_place_and_config_dir_becomes_absolute():
    typed = ["--config-dir", "mine", "-m", "seed=0", "--config-dir=data.root=x", "--cfg", "job"]
    replaced = ["--config-dir", "/here/mine", "-m", "seed=0", "--config-dir=/here/data.root=x"]
    assert make_arguments_absolute(typed, Path("/here")) == [*replaced, "--cfg", "job"]


def test_every_path_of_the_schema_is_known():
    named = {"outputs", "checkpoint", "init_from", "export_to", "data.root", "data.cache"}
    assert set(path_keys()) == named


def test_dots_behind_a_symbolic_link_stay(tmp_path):
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    (tmp_path / "far" / "file").touch()
    assert absolute("link/../file", tmp_path).exists()
    assert absolute("far/../link", tmp_path) == tmp_path / "link"


@pytest.fixture
def mine(tmp_path):
    """Return a folder for --config-dir whose files name paths."""
    files = {
        "data/mine": "defaults: [imagefolder, _self_]\nroot: photos\ncache: decoded\n",
        "experiment/mine": "# @package _global_\ninit_from: a.pt\ndata:\n  root: ../others\n",
        "sweeps/mine": "question: Which?\ngrid: {init_from: [a.pt, /b.pt], data.root: 'c,d'}\n"
        "baseline: {init_from: a.pt}\n",
    }
    for name, text in files.items():
        file = tmp_path / "mine" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return tmp_path / "mine"


def test_the_paths_of_a_users_yaml_are_relative_to_its_config_dir(mine, tmp_path):
    def tree(*arguments):
        done = launch("--config-dir=mine", "--cfg=job", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return yaml.safe_load(done.stdout)

    chosen = tree("data=mine", "sweep=mine")
    assert chosen["data"]["root"] == str(mine / "photos")
    assert chosen["data"]["cache"] == str(mine / "decoded")
    assert chosen["sweep"]["grid"] == {
        "init_from": [str(mine / "a.pt"), "/b.pt"],
        "data.root": f"{mine / 'c'},{mine / 'd'}",
    }
    assert chosen["sweep"]["baseline"] == {"init_from": str(mine / "a.pt")}
    chosen = tree("data=mine", "experiment=mine", "init_from=b.pt")
    assert chosen["data"]["root"] == str(tmp_path / "others")
    assert chosen["init_from"] == str(tmp_path / "b.pt")
    assert chosen["outputs"] == "outputs"  # the default: that of the checkout, once it is checked


def test_every_task_and_a_sweep_find_what_is_typed_in_another_folder(tmp_path):
    small = ("outputs=out", "device=cpu", *TINY)
    assert launch("train.epochs=1", *small, cwd=tmp_path).returncode == 0
    folder = run_folder(tmp_path / "out")
    best = (folder / "checkpoints" / "best.pt").relative_to(tmp_path)
    output = launch("task=evaluate", f"checkpoint={best}", cwd=tmp_path).stdout
    assert f"val/top1 {status(folder)['best']:.4f}" in output
    export = ("task=export", f"checkpoint={best}", "export_to=exported")
    assert launch(*export, cwd=tmp_path).returncode == 0
    assert (tmp_path / "exported" / "config.json").is_file()
    torch.save({}, tmp_path / "a.pt")
    sweep = launch("-m", "init_from=a.pt,b.pt", "hydra.launcher.plan=true", *small, cwd=tmp_path)
    assert sweep.stderr.startswith(f"error: there is no checkpoint {tmp_path / 'b.pt'}")


def test_an_empty_path_is_no_path():
    for arguments in (["outputs="], ["data=cifar10", "data.root="]):
        done = run(*arguments)
        assert f"{arguments[-1]} names no path" in done.stderr and done.returncode == 1


def test_a_sweep_is_the_same_from_any_folder(composed):
    """A path that earlier versions took as relative to the checkout gives the same sweep folder."""
    point = SimpleNamespace(config=typed(composed()))
    for text, folder in (("init_from=x/a.pt", CHECKOUT), ("init_from=a.pt", CHECKOUT / "x")):
        task = [*make_arguments_absolute([text], folder), "train.epochs=2", "seed=0,1"]
        master = OmegaConf.create({"hydra": {"overrides": {"task": task}}, "sweep": None})
        assert identity_of_fixed(point, master) == ["init_from=x/a.pt", "train.epochs=2"]
