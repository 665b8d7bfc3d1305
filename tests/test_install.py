"""The package installs from the checkout, and an export works elsewhere as its instructions say."""

from __future__ import annotations

import logging
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distributions

import pytest
import torch
from packaging.requirements import Requirement
from PIL import Image

from crate.config.schema import dump
from crate.data import transforms
from crate.data.source import Source
from crate.paths import CHECKOUT
from crate.tasks.export import export_checkpoint
from crate.tasks.identity import prepare
from crate.train.checkpoints import checkpoint
from crate.train.setup import build_model

PACKAGED = ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE")
GATED = """
import torch

from crate.model import CRATE


class GatedCRATE(CRATE):
    def __init__(self, *args, gate, **kwargs):
        super().__init__(*args, **kwargs)
        self.gate = torch.nn.Parameter(torch.tensor(gate))

    def forward_head(self, tokens, pre_logits=False):
        return super().forward_head(self.gate * tokens, pre_logits)
"""
# What a user does after the printed lines: images -> logits.
COMPARE = """
import sys
import torch
from PIL import Image
assert not [path for path in sys.path if path == {checkout!r}]
assert "crate" not in sys.modules or sys.modules["crate"].__file__.startswith(sys.prefix)
image = transform(Image.open({photograph!r}))
expected = torch.load({expected!r})
assert (image - expected["image"]).abs().max() < 0.02, (image - expected["image"]).abs().max()
with torch.no_grad():
    assert torch.equal(model(expected["image"][None]), expected["logits"])
assert label_names == ["cat", "dog", "owl"], label_names
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the Python of a new environment with the package; dependencies come from this one."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(CHECKOUT / "crate", folder / "crate", ignore=lambda *_: {"__pycache__"})
    for name in PACKAGED:
        shutil.copy(CHECKOUT / name, folder)
    venv.create(folder / "env")
    python = str(folder / "env" / "bin" / "python")
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python, packages


def test_its_dependencies_are_the_pinned_ones_with_room(installed):
    (package,) = distributions(name="crate-platform", path=[str(installed[1])])
    needed = {each.name: each.specifier for each in map(Requirement, package.requires)}
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert needed.keys() == pins.keys() - {
        *(
            "setuptools",
            "scikit-image",
            "pytest",
            "pytest-xdist",
            "hydra-submitit-launcher",
            "ruff",
        ),
        *("mypy", "types-PyYAML"),
    }
    assert all(pins[name] in specifier for name, specifier in needed.items())
    assert "2.11.0" in needed["torch"] and "2.10.1" not in needed["torch"]
    assert "3.0" not in needed["torch"] and "1.0.99" in needed["timm"]
    assert (installed[1] / "crate" / "config" / "reference" / "help.txt").is_file()
    ranges = runpy.run_path(str(CHECKOUT / "setup.py"))["ranges"]
    assert ranges("# a>=1.2\na==2.0.1\nb-c==0.3\n# tests and benches\nd==1.0\n") == [
        *("a>=1.2,<3", "b-c>=0.3,<1")
    ]


def test_exports_work_elsewhere_by_the_lines_that_are_printed(
    installed, composed, roots, tmp_path, caplog, monkeypatch
):
    photograph = next((roots["imagefolder"] / "val").glob("*/*"))
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "gated_module.py").write_text(GATED)
    (tmp_path / "mine" / "model" / "gated.yaml").write_text(
        "defaults: [crate_nano, _self_]\n_target_: gated_module.GatedCRATE\ngate: 0.5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    scripts = []
    timm = ("model=timm", "model.kwargs.model_name=resnet10t")
    for name, model in (("crate", ()), ("gated", ("model=gated",)), ("timm", timm)):
        typed = (f"hydra.searchpath=[file://{tmp_path}/mine]", *model, "data=imagefolder")
        typed += (f"data.root={roots['imagefolder']}", "data.img_size=32", "data.crop_pct=0.8")
        config = prepare(composed(*typed, "data.mean=[0.4]", "data.std=[0.3]"))
        torch.manual_seed(0)
        network = build_model(config, torch.device("cpu")).eval()
        path = tmp_path / f"{name}.pt"
        values = {"model": network.state_dict(), "config": dump(config)}
        checkpoint.write(path, values | {"label_names": ["cat", "dog", "owl"]})
        image = transforms.evaluation(config.data)(Source([(Image.open(photograph), 0)], 3)[0][0])
        image = transforms.Normalize(config.data.mean, config.data.std)(image[None])
        with torch.no_grad():
            logits = network(image)
        torch.save({"image": image[0], "logits": logits}, tmp_path / f"{name}_expected.pt")
        caplog.clear()
        with caplog.at_level(logging.INFO, "crate"):
            export_checkpoint(composed("task=export", f"checkpoint={path}"), [])
        lines = [record.getMessage() for record in caplog.records]
        (start,) = [number for number, line in enumerate(lines) if line.startswith("to use it")]
        assert (f"pip install {CHECKOUT}" in lines[start]) == (name != "timm")
        compare = COMPARE.format(
            checkout=str(CHECKOUT),
            photograph=str(photograph),
            expected=str(tmp_path / f"{name}_expected.pt"),
        )
        scripts.append("\n".join(lines[start + 1 :]) + compare)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_each = f"for script in {scripts!r}:\n    exec(script, {{}})\nprint('all work')\n"
    (elsewhere / "type.py").write_text(run_each)
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [installed[0], "type.py"], capture_output=True, text=True, cwd=elsewhere, env=bare
    )
    assert done.stdout.endswith("all work\n"), done.stdout + done.stderr
    assert str(sys.prefix) not in installed[0]
