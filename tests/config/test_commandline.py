"""Bad command lines: one clear message, no traceback, nothing left that looks like a run.

What can be known without torch is refused without it.
"""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.launching import TINY, command, launch, run

# (arguments, what the message has to say); OUT is a fresh outputs folder, TMP a folder of files.
BAD = {
    "unknown_group": ("dataset=cifar", ["dataset", "did you mean data"]),
    "unknown_option": ("model=crate_tinny", ["crate_tinny", "did you mean model=crate_tiny"]),
    "option_in_capitals": ("optimizer=SGD", ["did you mean optimizer=sgd"]),
    "unknown_experiment": ("experiment=papr", ["did you mean experiment=paper"]),
    "unknown_sweep": ("sweep=sparsty", ["did you mean sweep=sparsity"]),
    "unknown_task": ("task=trian", ["did you mean task=train"]),
    "empty_option": ("model=", ["model has no option", "crate_nano"]),
    "no_option": ("model=null", ["model has no option", "crate_nano"]),
    "unknown_key": ("model.depht=3", ["did you mean model.depth"]),
    "key_without_its_group": ("lr=0.1", ["did you mean optimizer.lr"]),
    "key_of_another_model": ("model=vit_tiny model.sparsity=1", ["no key model.sparsity"]),
    "key_of_another_data_set": ("data.root=/x", ["data is Digits", "bundled", "data=imagefolder"]),
    "sweep_of_a_key_of_another_model": (
        "sweep=sparsity model=vit_tiny",
        ["no key model.sparsity: model is ViT", "crate_tiny", "model=crate_nano"],
    ),
    "key_forced_with_plus": ("+model.sparcity=1", ["did you mean model.sparsity"]),
    "key_forced_with_two": ("++train.epoch=1", ["did you mean train.epochs"]),
    "deleted_group": ("~model", ["model=OPTION"]),
    "deleted_key": ("~train.epochs", ["train.epochs"]),
    "text_for_a_number": ("model.depth=six", ["model.depth=six", "a whole number"]),
    "fraction_for_a_count": ("train.epochs=1.5", ["train.epochs=1.5", "a whole number"]),
    "null_for_a_number": ("model.depth=null", ["model.depth", "a whole number"]),
    "text_for_a_switch": ("rerun=perhaps", ["true or false"]),
    "large_number_for_a_switch": ("train.decay_all=2147483648", ["true, false"]),
    "number_for_another_switch": ("deterministic=999", ["deterministic=999 is neither true nor"]),
    "number_for_a_switch_of_the_launcher": ("-m seed=0,1 hydra.launcher.plan=7", ["true, false"]),
    "seed_too_large": (
        "seed=99999999999999999999",
        ["seed=99999999999999999999 is out of range", "at most 18446744073709551615"],
    ),
    "seed_of_a_sweep_too_large": ("-m seed=0,99999999999999999999", ["out of range"]),
    "epochs_too_many": ("train.epochs=99999999999999999999", ["at most 9223372036854775807"]),
    "number_for_a_node": ("train=5", ["train.epochs"]),
    "one_beta": ("optimizer.betas=[0.9]", ["1 value", "2 numbers"]),
    "beta_of_one": ("optimizer.betas=[0.9,1.0]", ["out of range", "below 1"]),
    "negative_sparsity": ("model.sparsity=-0.1", ["model.sparsity=-0.1", "at least 0"]),
    "step_size_zero": ("model.step_size=0", ["model.step_size=0", "above 0"]),
    "lr_not_a_number": ("optimizer.lr=nan", ["optimizer.lr=nan"]),
    "lr_infinite": ("optimizer.lr=inf", ["optimizer.lr=inf", "finite"]),
    "no_epochs": ("train.epochs=0", ["train.epochs=0", "at least 1"]),
    "unknown_precision": ("precision=fp8", ["precision=fp8", "bf16"]),
    "precision_of_another_kind": ("precision=fp64", ["precision=fp32"]),
    "nesterov_without_momentum": (
        "optimizer=sgd optimizer.nesterov=true optimizer.momentum=0",
        ["needs momentum", "optimizer.momentum=0.9"],
    ),
    "probability_above_one": ("augment=flip_crop augment.flip_prob=2", ["at most 1"]),
    "unknown_pool": ("model.global_pool=mean", ["model.global_pool=mean", "avg"]),
    "heads_do_not_divide": ("model.num_heads=5", ["does not divide", "model.num_heads=4"]),
    "patch_does_not_divide": ("model.patch_size=3", ["does not divide", "model.patch_size=2"]),
    "size_of_three": ("model.patch_size=[1,2,3]", ["no size", "a pair"]),
    "too_many_tokens": ("model.patch_size=1 data.img_size=224", ["model.allow_long=true"]),
    "warmup_too_long": ("train.epochs=2 schedule.warmup_epochs=3", ["at most 2 epochs"]),
    "more_parts_than_images": ("train.accumulation_steps=33", ["at most 32"]),
    "model_against_data": ("model.num_classes=7", ["model.num_classes=7", "data.num_classes=10"]),
    "split_left_empty": ("data.val_fraction=0.0001", ["0.0001 of 1437 images", "split empty"]),
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
    "checkpoint_a_folder": (
        "task=evaluate checkpoint=TMP/run",
        ["it is a folder", "/run/checkpoints/best.pt"],
    ),
    "export_in_proc": (
        "task=export checkpoint=TMP/whole.pt export_to=/proc/nothing",
        ["cannot write to /proc/nothing", "export_to=FOLDER"],
    ),
    "device_of_an_evaluation": (
        "task=evaluate checkpoint=TMP/whole.pt device=cuda",
        ["device=cuda is not there"],
    ),
    "value_of_an_evaluation": (
        "task=evaluate checkpoint=TMP/whole.pt model.sparsity=-1",
        ["model.sparsity=-1 is out of range"],
    ),
    "checkpoint_a_torn_zip": ("task=export checkpoint=TMP/torn.pt", ["is torn"]),
    "init_another_zip": ("init_from=TMP/other.zip", ["a zip archive of something else"]),
    "init_torn_safetensors": ("init_from=TMP/torn.safetensors", ["is torn", "init_from=FILE"]),
    "init_no_safetensors": ("init_from=TMP/text.safetensors", ["refused"]),
    "init_of_a_sweep": ("-m seed=0,1 init_from=README.md", ["is not a checkpoint"]),
    "init_of_another_shape": ("init_from=TMP/odd.pt", ["does not fit", "missing"]),
    "unwritable_outputs": ("outputs=README.md/runs", ["cannot write", "outputs=FOLDER"]),
    "outputs_in_proc": ("outputs=/proc/nothing", ["cannot write to /proc/nothing"]),
    "outputs_of_a_sweep": ("-m seed=0,1 outputs=/proc/nothing", ["cannot write"]),
    "unknown_device": ("device=tpu", ["device=tpu", "cpu"]),
    "device_by_another_name": ("device=gpu", ["device=cuda"]),
    "absent_device": ("device=cuda:99", ["device=cuda:99 is not there", "cpu"]),
    "absent_device_of_a_sweep": ("-m seed=0,1 device=cuda", ["device=cuda is not there"]),
    "too_few_processes": ("ranks=4", ["1 process(es) were started", "--nproc_per_node=4"]),
    "run_folder_of_hydra": ("hydra.run.dir=/x", ["hydra.run.dir=/x", "outputs=/x"]),
    "sweep_folder_of_hydra": ("-m seed=1,2 hydra.sweep.dir=/x", ["outputs=/x"]),
    "sweep_name_of_hydra": ("-m seed=1,2 hydra.sweep.name=x", ["did you mean name?", "name=x"]),
    "unknown_flag": ("--epochs=3", ["--epochs is no flag", "train.epochs=3"]),
    "flags_of_others": (
        "--epochs 5 -lr 0.1 --arch CRATE_tiny --wandb",
        ["train.epochs=5 optimizer.lr=0.1 model=crate_tiny tracker=wandb"],
    ),
    "bad_flag_value": ("--cfg=everything", ["--cfg", "job"]),
    "config_dir_absent": ("--config-dir=/nowhere", ["no folder /nowhere"]),
    "unreadable_override": ("a=b=[", ["cannot read", "KEY=VALUE"]),
    "word_alone": ("train", ["cannot read", "KEY=VALUE"]),
    "option_alone": ("crate_tiny", ["model=crate_tiny"]),
    "values_in_a_single_run": ("seed=0,1", ["several values", "launch.py -m seed=0,1"]),
    "two_sweeps": ("sweep=demo,sparsity", ["several sweeps", "sweep=demo"]),
    "grid_without_a_sweep": ("sweep.grid.model.depth=[1,2]", ["sweep.grid belongs", "sweep=NAME"]),
    "unknown_key_of_the_sweeper": ("-m hydra.sweeper.param=1", ["hydra.sweeper.params"]),
    "glob_of_nothing": ("-m model=glob(resnet*)", ["model=glob(resnet*) has no value"]),
    "number_of_the_job": ("train.epochs=${hydra:job.num}", ["order in which runs start"]),
    "number_of_a_job_of_a_sweep": ("-m seed=1,2 tracker.x=${hydra:job.num}", ["tracker.x"]),
    "variable_not_set": ("data=imagefolder data.root=${oc.env:NO_SUCH}", ["NO_SUCH is not set"]),
    "variable_of_the_checkpoint": (
        "task=evaluate checkpoint=${oc.env:NO_SUCH}",
        ["checkpoint: the environment variable NO_SUCH is not set"],
    ),
    "variable_of_the_launcher": (
        "-m hydra/launcher=slurm hydra.launcher.partition=${oc.env:NO_SUCH} seed=1,2",
        ["the environment variable NO_SUCH is not set"],
    ),
    "broken_interpolation": ("train.epochs=${data.epochs}", ["train.epochs", "data.epochs"]),
    "kwargs_of_a_built_in": ("+model.kwargs.width=3", ["model.kwargs"]),
    "new_kwargs_of_a_built_in": ("model.kwargs.width=3", ["model.kwargs is for a _target_ of"]),
    "new_kwargs_beside_a_mistake": (
        "model=timm model.kwargs.model_name=resnet18 model.kwargs.drop_rate=0.1 lr=3",
        ["there is no key lr; did you mean optimizer.lr?"],
    ),
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


# Those that torch has to look at: weights, a model of timm, a module of torch.
WITH_TORCH = {"init_of_another_shape", "timm_name_unknown", "timm_kwarg_unknown"}
WITH_TORCH |= {"timm_image_too_small", "own_target_misspelt", "own_kwargs_unknown"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Make the folders and files that the command lines above point to; return their folder."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("two/train/a", "two/train/b", "two/val/a", "two/val/b"):
        (folder / name).mkdir(parents=True)
    for name in ("odd/train/a", "odd/val/a", "odd/val/only_in_val"):
        (folder / name).mkdir(parents=True)
    torch.save({"weight": torch.zeros(3)}, folder / "odd.pt")
    torch.save({"weight": torch.zeros(3)}, folder / "whole.pt")
    (folder / "torn.pt").write_bytes((folder / "whole.pt").read_bytes()[:-100])
    save_file({"weight": torch.zeros(300)}, folder / "whole.safetensors")
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "torn.safetensors").write_bytes(whole[:-100])
    (folder / "text.safetensors").write_text("no weights, but a text of some length")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "best.pt").touch()
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
    done = launch(*arguments, torch=name in WITH_TORCH, CUDA_VISIBLE_DEVICES="")
    assert done.returncode != 0
    message = done.stderr
    assert message.startswith("error: ") and message.count("error: ") == 1, message
    assert len(message.splitlines()) <= 5, message
    assert "Traceback" not in message and not done.stdout, message + done.stdout
    for words in expected:
        assert words in message
    assert not (tmp_path / "out").exists()


def test_all_mistakes_are_reported_at_once():
    done = run("model=crate_tinny", "optimizer=lino", "train.epochs=many", "lr=1")
    assert done.returncode == 1 and done.stderr.count("error: ") == 4, done.stderr
    mixed = launch("seed=0,1", "--epochs", "5", "hydra.run.dir=x", "model.depht=3", torch=False)
    assert mixed.returncode == 1 and mixed.stderr.count("error: ") == 4, mixed.stderr
    kwargs = launch("model.kwargs.width=3", "+model.kwargs.x=1", "train.keep=x", torch=False)
    assert kwargs.stderr.count("_target_ of your own") == 2, kwargs.stderr
    own = ("model=timm", "model.kwargs.model_name=resnet18", "model.kwargs.drop_rate=0.1")
    assert launch(*own, "train.keep=x", torch=False).stderr.count("error: ") == 1
    values = launch("model.sparsity=-1", "train.keep=0", "precision=fp8", "optimizer.betas=[1]")
    assert values.returncode == 1 and values.stderr.count("error: ") == 4, values.stderr


UNDERSTOOD = {
    "a_plus_before_a_choice": ("+experiment=paper", {"optimizer": {"lr": 2.4e-4}}),
    "a_plus_before_a_value": ("+seed=3 ++train.keep=4", {"seed": 3, "train": {"keep": 4}}),
    "a_whole_number_with_an_exponent": ("train.epochs=1e3", {"train": {"epochs": 1000}}),
    "a_flag_behind_an_override": ("--config-dir=TMP/own seed=1 --resolve", {"seed": 1}),
    "no_recipe": ("experiment=null seed=1 sweep=null", {"seed": 1, "sweep": None}),
    "a_home_folder": ("data=imagefolder data.root=~/x", {"data": {"root": f"{Path.home()}/x"}}),
    "text_that_looks_like_a_number": ("name=1e400", {"name": "1e400"}),
    "a_new_argument": ("model=timm model.kwargs.x=1", {"model": {"kwargs": {"x": 1}}}),
    "a_key_of_the_grid": (
        "sweep=demo sweep.grid.model.sparsity=[0.3] sweep.grid.train.epochs=1e2,2e2",
        {
            "sweep": {
                "grid": {
                    "model.sparsity": [0.3],
                    "model.step_size": [0.1, 0.5],
                    "train.epochs": "100,200",
                }
            }
        },
    ),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_usual_hydra_options_work(name, files):
    text, expected = UNDERSTOOD[name]
    done = launch(*text.replace("TMP", str(files)).split(), "--cfg", "job", torch=False)
    assert done.returncode == 0, done.stderr
    tree = yaml.safe_load(done.stdout)
    assert holds(tree, expected)


def holds(tree, expected):
    """Return whether nested dictionaries have all the values of `expected`."""
    if isinstance(expected, dict):
        return all(key in tree and holds(tree[key], value) for key, value in expected.items())
    return tree == expected


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["model=glob(crate_*)", "model.depth=1"], 5),
        (["hydra.sweeper.params={seed: '0,1', model.depth: '1,2'}", "model.depth=3"], 2),
        (["hydra.sweeper.params.model.sparsity=0.1,0.5", "sweep=demo", "seed=0"], 4),
    ],
)
def test_a_sweep_by_glob_and_by_params(arguments, runs, tmp_path):
    typed = ("-m", *arguments, f"outputs={tmp_path}", "hydra.launcher.plan=true")
    done = launch(*typed, torch=False)
    assert f"{runs} runs: {runs} new" in done.stdout, done.stdout + done.stderr


def test_help_names_every_option_and_no_other():
    from crate.paths import CONF

    help_text = run("--help").stdout.split("Examples")[0].split()
    for file in CONF.glob("*/*.yaml"):
        assert file.stem in help_text, file


@pytest.mark.parametrize(
    "arguments", [("--help", "model.sparsity"), ("--cfg", "job"), ("model=nothing",)]
)
def test_short_commands_do_not_import_torch(arguments):
    python, *words = command(*arguments)
    done = subprocess.run([python, "-X", "importtime", *words], capture_output=True, text=True)
    imported = {line.rsplit("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "torch" not in imported and "crate.config.schema" in imported


def test_a_sweep_by_hydras_own_grammar_trains_each_point(tmp_path):
    done = launch("-m", "seed=0,1", *TINY, "train.epochs=1", f"outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2
    finished = ("seed=0", *TINY, "train.epochs=1", f"outputs={tmp_path}")
    for name in ("cuda", "gpu"):
        refused = launch(*finished, f"device={name}", torch=False, CUDA_VISIBLE_DEVICES="")
        assert refused.returncode == 1 and f"device={name} is " in refused.stderr, refused.stdout
