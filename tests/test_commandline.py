"""Bad command lines: one clear message, no traceback, nothing left that looks like a run."""

from __future__ import annotations

import subprocess

import pytest
import torch

from tests.launching import TINY, command, launch, run

# (arguments, what the message has to say); OUT is a fresh outputs folder, TMP a folder of files.
BAD = {
    "unknown_group": ("dataset=cifar", ["dataset", "did you mean data"]),
    "unknown_option": ("model=crate_tinny", ["crate_tinny", "did you mean model=crate_tiny"]),
    "option_in_capitals": ("optimizer=SGD", ["did you mean optimizer=sgd"]),
    "unknown_experiment": ("experiment=papr", ["did you mean experiment=paper"]),
    "flag_in_the_middle": ("seed=1 --config-dir=TMP/own seed=2", ["every --flag first"]),
    "unknown_sweep": ("sweep=sparsty", ["did you mean sweep=sparsity"]),
    "unknown_task": ("task=trian", ["did you mean task=train"]),
    "empty_option": ("model=", ["model has no option", "crate_nano"]),
    "no_option": ("model=null", ["model has no option", "crate_nano"]),
    "unknown_key": ("model.depht=3", ["did you mean model.depth"]),
    "key_without_its_group": ("lr=0.1", ["did you mean optimizer.lr"]),
    "key_of_another_model": ("model=vit_tiny model.sparsity=1", ["no key model.sparsity"]),
    "key_forced_with_plus": ("+model.sparcity=1", ["did you mean model.sparsity"]),
    "key_forced_with_two": ("++train.epoch=1", ["did you mean train.epochs"]),
    "deleted_group": ("~model", ["model=OPTION"]),
    "deleted_key": ("~train.epochs", ["train.epochs"]),
    "text_for_a_number": ("model.depth=six", ["model.depth=six", "a whole number"]),
    "fraction_for_a_count": ("train.epochs=1.5", ["train.epochs=1.5", "a whole number"]),
    "null_for_a_number": ("model.depth=null", ["model.depth", "a whole number"]),
    "text_for_a_switch": ("rerun=perhaps", ["true or false"]),
    "number_for_a_node": ("train=5", ["train.epochs"]),
    "one_beta": ("optimizer.betas=[0.9]", ["1 value", "2 numbers"]),
    "beta_of_one": ("optimizer.betas=[0.9,1.0]", ["out of range", "below 1"]),
    "negative_sparsity": ("model.sparsity=-0.1", ["model.sparsity=-0.1", "at least 0"]),
    "step_size_zero": ("model.step_size=0", ["model.step_size=0", "above 0"]),
    "lr_not_a_number": ("optimizer.lr=nan", ["optimizer.lr=nan"]),
    "lr_infinite": ("optimizer.lr=inf", ["optimizer.lr=inf", "finite"]),
    "no_epochs": ("train.epochs=0", ["train.epochs=0", "at least 1"]),
    "unknown_precision": ("precision=fp8", ["precision=fp8", "bf16"]),
    "unknown_pool": ("model.global_pool=mean", ["model.global_pool=mean", "avg"]),
    "heads_do_not_divide": ("model.num_heads=5", ["does not divide", "model.num_heads=4"]),
    "patch_does_not_divide": ("model.patch_size=3", ["does not divide", "model.patch_size=2"]),
    "size_of_three": ("model.patch_size=[1,2,3]", ["no size", "a pair"]),
    "too_many_tokens": ("model.patch_size=1 data.img_size=224", ["model.allow_long=true"]),
    "warmup_too_long": ("train.epochs=2 schedule.warmup_epochs=3", ["at most 2 epochs"]),
    "more_parts_than_images": ("train.accumulation_steps=33", ["at most 32"]),
    "model_against_data": ("model.num_classes=7", ["model.num_classes=7", "data.num_classes=10"]),
    "missing_data": ("data=imagefolder data.root=/nowhere", ["/nowhere", "train/<class>/"]),
    "no_data_named": ("data=imagefolder", ["data.root has no value", "data.root=VALUE"]),
    "missing_fashion": (
        "data=fashion_mnist data.root=TMP data.download=false",
        ["train-images-idx3-ubyte", "data.download=true"],
    ),
    "fewer_classes": ("data=imagenet100 data.root=TMP/two", ["holds 2 class folders", "100"]),
    "classes_differ": ("data=imagefolder data.root=TMP/odd", ["classes differ", "only_in_val"]),
    "no_kaggle_download": ("data=imagenet100 data.root=TMP", ["ambityga/imagenet100", "train.X1"]),
    "download_forbidden": ("data=pets data.root=TMP data.download=false", ["no pets in"]),
    "root_null": ("data=imagefolder data.root=null", ["data.root has no value"]),
    "no_export_without_a_file": ("task=export", ["task=export checkpoint=FILE"]),
    "export_to_while_training": ("export_to=TMP/there", ["task=export checkpoint=FILE"]),
    "magnitude_too_large": ("augment=randaugment augment.magnitude=31", ["below 31"]),
    "no_checkpoint_named": ("task=evaluate", ["checkpoint=FILE"]),
    "checkpoint_absent": ("task=evaluate checkpoint=/nowhere.pt", ["there is no checkpoint"]),
    "checkpoint_in_training": ("checkpoint=/nowhere.pt", ["init_from=/nowhere.pt"]),
    "init_absent": ("init_from=/nowhere.pt", ["there is no checkpoint", "init_from=FILE"]),
    "checkpoint_no_checkpoint": ("task=evaluate checkpoint=README.md", ["refused"]),
    "init_of_another_shape": ("init_from=TMP/odd.pt", ["does not fit", "missing"]),
    "unwritable_outputs": ("outputs=README.md/runs", ["cannot write", "outputs=FOLDER"]),
    "unknown_device": ("device=tpu", ["device=tpu", "cpu"]),
    "absent_device": ("device=cuda:99", ["device=cuda:99", "cpu"]),
    "unknown_flag": ("--epochs=3", ["--epochs is no flag", "epochs=VALUE"]),
    "bad_flag_value": ("--cfg=everything", ["--cfg", "job"]),
    "config_dir_absent": ("--config-dir=/nowhere", ["no folder /nowhere"]),
    "unreadable_override": ("a=b=[", ["cannot read", "KEY=VALUE"]),
    "word_alone": ("train", ["cannot read", "KEY=VALUE"]),
    "broken_interpolation": ("train.epochs=${data.epochs}", ["train.epochs", "data.epochs"]),
    "kwargs_of_a_built_in": ("+model.kwargs.width=3", ["model.kwargs"]),
    "timm_without_a_name": ("model=timm", ["model.kwargs.model_name=VALUE"]),
    "timm_name_unknown": (
        "model=timm model.kwargs.model_name=resnet81",
        ["did you mean resnet18?", "model.kwargs.model_name=resnet18"],
    ),
    "timm_kwarg_unknown": (
        "model=timm model.kwargs.model_name=resnet18 +model.kwargs.drop_block=1",
        ["resnet18 has no argument drop_block", "+model.kwargs.drop_block_rate=VALUE"],
    ),
    "timm_image_too_small": (
        "model=timm model.kwargs.model_name=convnext_atto",
        ["does not fit 10 classes of 1 x 16 x 16 images", "data.img_size=32"],
    ),
    "own_target_unknown": ("--config-dir=TMP/own model=nowhere", ["no_such_module"]),
    "own_target_misspelt": (
        "--config-dir=TMP/own model=misspelt",
        ["torch.nn has no Linea", "Linear"],
    ),
    "own_kwargs_unknown": ("--config-dir=TMP/own model=wrong", ["does not take", "out_features"]),
    "own_yaml_typo": ("--config-dir=TMP/own model=typo", ["kwarg", "kwargs"]),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folders and files that the command lines above point to."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("two/train/a", "two/train/b", "two/val/a", "two/val/b"):
        (folder / name).mkdir(parents=True)
    for name in ("odd/train/a", "odd/val/a", "odd/val/only_in_val"):
        (folder / name).mkdir(parents=True)
    torch.save({"weight": torch.zeros(3)}, folder / "odd.pt")
    own = folder / "own" / "model"
    own.mkdir(parents=True)
    (own / "nowhere.yaml").write_text("_target_: no_such_module.Net\n")
    (own / "misspelt.yaml").write_text("_target_: torch.nn.Linea\n")
    (own / "wrong.yaml").write_text("_target_: torch.nn.Linear\nkwargs: {out: 3}\n")
    (own / "typo.yaml").write_text("_target_: torch.nn.Linear\nkwarg: {out_features: 3}\n")
    return folder


@pytest.mark.parametrize("name", BAD)
def test_a_bad_command_line_gets_one_clear_message(name, files, tmp_path):
    arguments, expected = BAD[name]
    arguments = [part.replace("TMP", str(files)) for part in arguments.split()]
    if not any(part.startswith("outputs=") for part in arguments):
        arguments.append(f"outputs={tmp_path / 'out'}")
    done = launch(*arguments)
    assert done.returncode != 0
    message = done.stderr
    assert message.startswith("error: ") and message.count("error: ") == 1, message
    assert len(message.splitlines()) <= 5, message
    assert "Traceback" not in message and not done.stdout, message + done.stdout
    for words in expected:
        assert words in message
    assert not (tmp_path / "out").exists()


def test_all_mistakes_are_said_at_once():
    done = run("model=crate_tinny", "optimizer=lino", "train.epochs=many", "lr=1")
    assert done.returncode == 1 and done.stderr.count("error: ") == 4, done.stderr
    values = launch("model.sparsity=-1", "train.keep=0", "precision=fp8", "optimizer.betas=[1]")
    assert values.returncode == 1 and values.stderr.count("error: ") == 4, values.stderr


def test_help_names_every_option_and_no_other():
    from crate.config.commandline import CONF

    said = run("--help").stdout.split("Examples")[0].split()
    for file in CONF.glob("*/*.yaml"):
        assert file.stem in said, file


@pytest.mark.parametrize(
    "arguments", [("--help", "model.sparsity"), ("--cfg", "job"), ("model=nothing",)]
)
def test_small_answers_import_no_torch(arguments):
    python, *rest = command(*arguments)
    done = subprocess.run([python, "-X", "importtime", *rest], capture_output=True, text=True)
    imported = {line.rsplit("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "torch" not in imported and "crate.config.schema" in imported


def test_a_sweep_by_hydras_own_grammar_trains_each_point(tmp_path):
    done = launch("-m", "seed=0,1", *TINY, "train.epochs=1", f"outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2
