"""Every YAML file composes, options compose freely, and a user's own need no change here."""

from __future__ import annotations

from itertools import product

import pytest
from omegaconf import OmegaConf

from crate.config.check import typed
from crate.paths import CONF
from tests.launching import TINY, launch, run_folder, status

FILES = sorted(file.relative_to(CONF) for file in CONF.rglob("*.yaml"))
GROUPS: dict[str, list[str]] = {}
for file in FILES:
    if file.parent.name:
        GROUPS.setdefault(file.parent.as_posix(), []).append(file.stem)


def placed(cfg):
    """Set the folder and classes of a data set of files, and the name of model=timm."""
    OmegaConf.update(cfg, "data.num_classes", cfg.data.num_classes or 3)
    if OmegaConf.is_missing(cfg.model.kwargs, "model_name"):  # model=timm, whose user names it
        cfg.model.kwargs.model_name = "resnet10t"
    if "root" in cfg.data or OmegaConf.is_missing(cfg.data, "root"):
        cfg.data.root = "/somewhere"
    if cfg.task != "train":
        cfg.checkpoint = "/some/file.pt"
    return cfg


def test_the_walk_finds_every_file():
    assert len(FILES) == 1 + sum(len(options) for options in GROUPS.values()) == 44


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name], ids=str)
def test_every_file_composes_and_is_checked(file, composed):
    cfg = placed(composed(f"{file.parent}={file.stem}"))
    config = typed(cfg)
    assert config.task == (file.stem if file.parent.name == "task" else "train")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_opens_with_what_it_is_and_its_command(file):
    lines = (CONF / file).read_text().splitlines()
    if lines[0] == "# @package _global_":
        lines = lines[1:]
    assert lines[0].startswith("# ")
    commands = [line for line in lines if line.startswith("#   python launch.py")]
    assert commands, file
    if file.parent.name:
        assert any(f"{file.parent}={file.stem}" in line for line in commands)


@pytest.mark.parametrize(
    ("model", "data", "optimizer"),
    list(product(GROUPS["model"], GROUPS["data"], GROUPS["optimizer"])),
)
def test_groups_compose_freely(composed, model, data, optimizer):
    cfg = placed(composed(f"model={model}", f"data={data}", f"optimizer={optimizer}"))
    config = typed(cfg)
    if model == "timm":
        assert config.model.kwargs["img_size"] == config.data.img_size
        assert config.model.kwargs["num_classes"] == config.data.num_classes
    else:
        assert config.model.img_size == config.data.img_size
        assert config.model.patch_size == config.data.suggested.patch_size
    assert config.train.epochs == config.data.suggested.epochs


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "flowers", "pets"])
def test_the_fine_tunings_recipe(composed, name):
    config = typed(placed(composed(f"experiment=finetune_{name}", "model=crate_base")))
    assert config.data._target_.lower() == f"crate.data.downloaded.{name}"
    assert (config.data.img_size, config.model.patch_size, config.data.crop_pct) == (224, 16, 1)
    assert config.data.mean == [0.485, 0.456, 0.406] and config.data.std == [0.229, 0.224, 0.225]
    assert config.optimizer._target_ == "torch.optim.AdamW"
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (5e-5, 0.01)
    assert (config.train.batch_size, config.train.epochs) == (256, 200)
    assert config.train.label_smoothing == config.schedule.warmup_epochs == 0
    assert config.schedule._target_ == "crate.train.schedule.cosine"
    assert (config.augment.num_ops, config.augment.magnitude) == (2, 14)
    assert config.model.embed_dim == 768 and config.init_from is None


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_from_scratch_is_at_its_own_size(composed, name):
    config = typed(placed(composed(f"data={name}")))
    assert (config.data.img_size, config.model.patch_size) == (32, 4)


def test_the_papers_recipe(composed):
    config = typed(placed(composed("experiment=paper")))
    assert config.optimizer._target_ == "lion_pytorch.Lion"
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (2.4e-4, 0.5)
    assert config.optimizer.betas == [0.9, 0.99]
    assert (config.train.batch_size, config.train.epochs) == (2048, 150)
    assert (config.schedule.warmup_epochs, config.train.label_smoothing) == (5, 0.1)
    assert config.augment._target_.endswith("flip_crop") and config.data.crop_pct == 0.875
    assert typed(placed(composed("experiment=paper", "model=crate_small"))).model.embed_dim == 576


def test_the_reproductions_and_the_authors_scripts_recipes(composed):
    config = typed(placed(composed("experiment=reproduction")))
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (2e-4, 0.05)
    assert (config.train.batch_size, config.train.epochs) == (512, 200)
    assert config.schedule._target_ == "crate.train.schedule.authors"
    config = typed(placed(composed("experiment=authors_script")))
    assert config.optimizer._target_ == "torch.optim.AdamW"
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (4e-4, 0.1)
    assert (config.train.batch_size, config.train.epochs) == (256, 90)
    assert config.schedule.warmup_epochs == 20


def test_paths_are_found_from_the_checkout(composed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert typed(composed()).outputs == str(CONF.parent / "outputs")


def test_an_own_model_and_an_own_data_set_train_from_a_folder_outside(tmp_path):
    """Run the README's example, with no change to the package."""
    folder = tmp_path / "mine"
    for group in ("model", "data", "optimizer", "schedule", "augment"):
        (folder / group).mkdir(parents=True)
    (folder / "mine.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, side, classes, width=8):\n"
        "        super().__init__()\n"
        "        self.body = torch.nn.Sequential(torch.nn.Flatten(),\n"
        "            torch.nn.Linear(3 * side * side, width), torch.nn.Linear(width, classes))\n"
        "    def forward(self, images):\n"
        "        return self.body(images)\n"
        "class Stripes:\n"
        "    def __init__(self, split, count):\n"
        "        self.count = count\n"
        "    def __len__(self):\n"
        "        return self.count\n"
        "    def __getitem__(self, index):\n"
        "        image = torch.zeros(3, 8, 8, dtype=torch.uint8)\n"
        "        image[:, index % 2 :: 2] = 255\n"
        "        return image, index % 2\n"
        "def halves(total_steps, steps_per_epoch, at):\n"
        "    return lambda step: 1.0 if step < at * total_steps else 0.5\n"
        "def shift(img_size):\n"
        "    return lambda image: image.roll(2 * int(torch.randint(0, 3, ())), -1)\n"
    )
    (folder / "model" / "mine.yaml").write_text(
        "_target_: mine.Net\nkwargs: {side: '${data.img_size}', classes: '${data.num_classes}'}\n"
    )
    (folder / "data" / "mine.yaml").write_text(
        "_target_: mine.Stripes\nkwargs: {count: 64}\n"
        "img_size: 8\nin_chans: 3\nnum_classes: 2\nworkers: 0\n"
        "suggested: {epochs: 3, batch_size: 16, warmup_epochs: 0}\n"
    )
    (folder / "optimizer" / "mine.yaml").write_text(
        "_target_: torch.optim.Adagrad\nlr: 0.01\nweight_decay: 0.0\nkwargs: {lr_decay: 0.1}\n"
    )
    (folder / "schedule" / "mine.yaml").write_text("_target_: mine.halves\nkwargs: {at: 0.5}\n")
    (folder / "augment" / "mine.yaml").write_text("_target_: mine.shift\n")
    mine = [f"{group}=mine" for group in ("model", "data", "optimizer", "schedule", "augment")]
    arguments = (f"--config-dir={folder}", *mine, f"outputs={tmp_path / 'out'}")
    done = launch(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = run_folder(tmp_path / "out")
    assert status(run)["best"] == 100.0
    best = run / "checkpoints" / "best.pt"
    again = launch(f"--config-dir={folder}", "task=evaluate", f"checkpoint={best}")
    assert "val/top1 100.0000" in again.stdout, again.stdout + again.stderr


def test_evaluation_gives_what_training_reported_and_obeys_what_is_typed(tmp_path):
    assert launch(*TINY, "train.epochs=2", f"outputs={tmp_path}").returncode == 0
    run = run_folder(tmp_path)
    best = run / "checkpoints" / "best.pt"
    output = launch("task=evaluate", f"checkpoint={best}").stdout
    assert f"val/top1 {status(run)['best']:.4f}" in output and "360 images" in output
    other = launch("task=evaluate", f"checkpoint={best}", "model.sparsity=3").stdout
    assert other.splitlines()[-1] != output.splitlines()[-1]
    larger = launch("task=evaluate", f"checkpoint={best}", "data.img_size=32").stdout
    assert "2 x 2 interpolated (bicubic) to 4 x 4" in larger
