"""The README is true: its commands run, its examples work, its tables name what exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from crate.paths import CHECKOUT, CONF
from crate.run.records import read_json
from tests.launching import TINY, launch, run_folder
from tests.sweep.asking import ask

README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if line.startswith("python launch.py")
] + re.findall(r"`(python launch\.py [^`]+)`", README)
QUESTIONS = re.findall(r"^(python -m crate\.sweep[^#\n]*)", README, re.MULTILINE)
SMALL = ("model.depth=1", "train.epochs=1", "schedule.warmup_epochs=0", "train.batch_size=256")


def block(language: str, name: str) -> str:
    """Return the code block that opens with the comment `# name`."""
    (text,) = [text for kind, text in BLOCKS if kind == language and text.startswith(f"# {name}")]
    return text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a finished run on digits."""
    outputs = tmp_path_factory.mktemp("finished")
    assert launch(*TINY, "train.epochs=1", f"outputs={outputs}").returncode == 0
    return run_folder(outputs)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, finished, roots, tmp_path):
    if "mine" in command:
        make_mine(tmp_path)
    words = shlex.split(command)[2:]
    evaluates = "task=evaluate" in words or "task=export" in words
    data = next((w.split("=")[1] for w in words if w.startswith("data=")), "imagenet1k")
    replaced = {
        "FOLDER": str(roots.get(data, "")),
        "outputs/runs/RUN": str(finished),
        "FILE": str(checkpoint(command, tmp_path)) if "FILE" in command else "",
    }
    for placeholder, value in replaced.items():
        words = [word.replace(placeholder, value) for word in words]
    if evaluates:
        words += ["data.img_size=32"] if "FILE" in command else []
    elif "--cfg" not in words and "--help" not in words:
        own = "mine" in command or "model=timm" in words
        words += SMALL[1:] if own else SMALL
        words += ["data.img_size=32"] if "FOLDER" in command or "FILE" in command else []
        if "finetune" in command:  # torchvision's checksums admit no made CIFAR
            words += ["data=imagefolder", f"data.root={roots['imagefolder']}"]
    if "--help" not in words:
        words += [f"outputs={tmp_path / 'out'}", "device=cpu"]
    done = launch(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_questions_of_the_readme_are_answered(tmp_path):
    small = (*SMALL, "model.embed_dim=24", "device=cpu", f"outputs={tmp_path}")
    assert launch("sweep=demo", *small).returncode == 0
    for question in QUESTIONS:
        done = ask(tmp_path, *shlex.split(question)[3:])
        assert done.returncode == 0 and done.stdout.strip(), (question, done)


def checkpoint(command, folder):
    """Return a checkpoint with random weights for the commands of the README."""
    if "finetune" not in command:
        return authors_checkpoint(folder)
    import torch

    from crate.model import CRATE

    size = {"embed_dim": 384, "depth": 1, "num_heads": 6, "img_size": 64, "num_classes": 10}
    torch.save(CRATE(**size).state_dict(), folder / "tiny.pt")
    return folder / "tiny.pt"


def authors_checkpoint(folder):
    """Return a checkpoint of CRATE-B with random weights, in the authors' names and form."""
    import torch

    from crate.model import CRATE
    from crate.model.official import _LAYER, _OUTPUT, _STEM_AND_HEAD

    ours = CRATE(embed_dim=768, num_heads=12).state_dict()
    names = {"cls_token": "cls_token", "pos_embed": "pos_embedding"}
    for theirs, mine in _STEM_AND_HEAD.items():
        names |= {f"{mine}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    for layer in range(12):
        for theirs, mine in (_LAYER | _OUTPUT).items():
            names[f"layers.{layer}.{mine}"] = f"transformer.layers.{layer}.{theirs}"
    weights = {f"module.{names[name]}": weight for name, weight in ours.items()}
    torch.save({"epoch": 3, "state_dict": weights}, folder / "authors.pth")
    return folder / "authors.pth"


def make_mine(folder):
    (folder / "mine" / "model").mkdir(parents=True)
    (folder / "mine" / "model" / "pooled.yaml").write_text(block("yaml", "mine/model/pooled.yaml"))
    (folder / "mine" / "pooled.py").write_text(block("python", "mine/pooled.py"))
    (folder / "mine" / "model" / "gated.yaml").write_text(block("yaml", "mine/model/gated.yaml"))
    (folder / "mine" / "gated.py").write_text(block("python", "mine/gated.py"))
    (folder / "mine" / "mlp.py").write_text(block("python", "mine/mlp.py"))
    (folder / "mine" / "weights.py").write_text(block("python", "mine/weights.py"))
    (folder / "mine" / "evaluators").mkdir()
    for language, name in (("yaml", "evaluators/calibration.yaml"), ("python", "calibration.py")):
        (folder / "mine" / name).write_text(block(language, f"mine/{name}"))


def test_the_commands_were_found():
    assert len(COMMANDS) == 24 and len(QUESTIONS) == 5, (COMMANDS, QUESTIONS)


def test_the_python_example_runs():
    (code,) = [text for kind, text in BLOCKS if kind == "python" and "timm.create_model" in text]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0 and len(done.stdout.splitlines()) >= 12, done.stderr


@pytest.mark.parametrize(
    "group", [p.name for p in CONF.iterdir() if p.is_dir() and p.name != "hydra"]
)
def test_the_table_of_groups_names_every_option(group):
    (row,) = re.findall(rf"^\| `{group}` \| (?!`target)(.*) \|$", README, re.MULTILINE)
    options = {file.stem for file in (CONF / group).glob("*.yaml")}
    assert options <= set(re.findall(r"`(\w+)`", row)) | {"none"}


def test_every_key_that_the_readme_names_exists(composed):
    trees = [composed("optimizer=lion", f"data={data}") for data in ("cifar10", "imagefolder")]
    for key in set(
        re.findall(r"`(?:[\w=]+ )*((?:train|optimizer|model|data|schedule)\.\w+)=", README)
    ):
        group, _, name = key.partition(".")
        assert any(name in tree[group] for tree in trees), key


def test_every_flag_of_the_authors_scripts_is_mapped():
    section = README.split("## Coming from")[1].split("\n## ")[0]
    main, finetune = section.split("finetune.py")
    for flag in (
        "arch",
        "batch-size",
        "epochs",
        "optimizer",
        "lr",
        "weight-decay",
        "print-freq",
        "data",
    ):
        assert f"--{flag} " in main, flag
    for flag in ("bs", "net", "opt", "lr", "n_epochs", "randomaug", "data", "ckpt_dir", "data_dir"):
        assert f"--{flag} " in finetune, flag


def test_the_run_folder_holds_what_the_table_lists(finished):
    section = README.split("| file | what |")[1].split("\n\n")[0]
    for name in re.findall(r"`([^` ]+)`", section.replace("`train/loss`", "")):
        if (
            name.startswith(("train/", "val/", "step", "epoch", "time_s", "auto"))
            and "*" not in name
        ):
            continue
        assert list(finished.glob(name.rstrip("/"))) or list(
            finished.glob(f"checkpoints/{name}")
        ), name
    meta = read_json(finished / "meta.json")
    assert meta["auto"]["precision"] in ("bf16", "fp32") and meta["versions"]["torch"]
    assert {"revision", "dirty_diff", "fingerprint", "cpu", "command"} <= meta.keys()


def test_environment_yml_installs_the_pins_from_the_one_place():
    import yaml

    environment = yaml.safe_load((CHECKOUT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.txt"] and set(conda) == {"python=3.11", "pip"}
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+==[\d.]+", pin) for pin in pins), pins
    assert {"torch", "torchvision", "timm", "pytest", "ruff"} <= {
        pin.split("==")[0] for pin in pins
    }


@pytest.mark.parametrize(
    ("venv", "python"), [("", "python"), ("/envs/mine", "/envs/mine/bin/python")]
)
def test_make_uses_an_environment_of_the_users_own(venv, python):
    # Under `make test` this make must not be the other's child.
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    for goal, does in (("run", "launch.py"), ("test", "-m pytest -n 2")):
        words = ["make", "-n", goal, f"VENV={venv}"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=CHECKOUT, env=env)
        assert done.stdout.startswith(f"{python} {does}"), done
        assert len(done.stdout.splitlines()) == 1, done


def test_the_sweep_file_of_the_readme_is_one(tmp_path):
    from omegaconf import OmegaConf

    from crate.config.schema import Sweep
    from crate.sweep.define.files import read
    from crate.sweep.define.points import points

    (tmp_path / "width.yaml").write_text(block("yaml", "mine/sweeps/width.yaml"))
    sweep = OmegaConf.merge(OmegaConf.structured(Sweep), read(tmp_path / "width.yaml"))
    assert len(points(OmegaConf.to_object(sweep), [])) == 9
