"""A truncated, altered, foreign or malicious checkpoint is refused; the previous one is used."""

from __future__ import annotations

import logging
import os
import pickle
import random
import shutil

import pytest
import torch

from crate.errors import UserError
from crate.train.checkpoints.checkpoint import (
    CheckpointError,
    Checkpoints,
    read,
    write,
)
from crate.train.generators import generator_states, set_generator_states
from tests.launching import TINY, launch, run_folder, status

EPOCH = 23


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    """Return the outputs of a run of two epochs that is not marked finished."""
    outputs = tmp_path_factory.mktemp("stopped")
    done = launch(*RUN, f"outputs={outputs}")
    assert done.returncode == 0, done.stderr
    folder = run_folder(outputs)
    (folder / "status.json").write_text('{"state": "running", "step": 46}')
    assert [f.name for f in sorted((folder / "checkpoints").glob("step-*"))] == [
        "step-00000040.pt",
        "step-00000046.pt",
    ]
    return outputs


RUN = (*TINY, "train.epochs=2", "train.checkpoint_every_steps=10")


@pytest.fixture
def outputs(stopped_run, tmp_path):
    return shutil.copytree(stopped_run, tmp_path / "outputs")


def checkpoint(outputs, step):
    return run_folder(outputs) / "checkpoints" / f"step-{step:08d}.pt"


class Malicious:
    """An object that creates a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def damage(file, how, tmp_path):
    content = bytearray(file.read_bytes())
    if how == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif how == "short of a byte":
        file.write_bytes(content[:-1])
    elif how == "emptied":
        file.write_bytes(b"")
    elif how == "bit flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif how == "malicious":
        torch.save({"model": Malicious(tmp_path / "ran")}, file)
    elif how == "malicious, of the old format":
        file.write_bytes(pickle.dumps({"model": Malicious(tmp_path / "ran")}))
    elif how == "of another configuration":
        values = torch.load(file, weights_only=True)
        torch.save(values | {"signature": "another"}, file)


DAMAGES = (
    "truncated",
    "short of a byte",
    "emptied",
    "bit flipped",
    "malicious",
    "malicious, of the old format",
    "of another configuration",
)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_logged_and_the_previous_one_is_loaded(outputs, how, tmp_path):
    damage(checkpoint(outputs, 46), how, tmp_path)
    done = launch(*RUN, f"outputs={outputs}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed over: " in done.stdout and "step-00000046.pt" in done.stdout
    assert "going on at step 40 of 46" in done.stdout
    assert status(run_folder(outputs))["state"] == "finished"
    assert not (tmp_path / "ran").exists()


def test_a_run_without_an_intact_checkpoint_refuses_to_start_again(outputs, tmp_path):
    for step in (40, 46):
        damage(checkpoint(outputs, step), "truncated", tmp_path)
    done = launch(*RUN, f"outputs={outputs}")
    assert done.returncode == 1 and "resume=never" in done.stderr
    assert len(done.stderr.splitlines()) <= 5 and "Traceback" not in done.stderr
    anew = launch(*RUN, f"outputs={outputs}", "resume=never")
    assert anew.returncode == 0 and "set aside" in anew.stdout


@pytest.mark.parametrize("how", [how for how in DAMAGES if how != "of another configuration"])
def test_evaluation_refuses_a_damaged_checkpoint(outputs, how, tmp_path):
    file = run_folder(outputs) / "checkpoints" / "best.pt"
    damage(file, how, tmp_path)
    done = launch("task=evaluate", f"checkpoint={file}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert str(file) in done.stderr and len(done.stderr.splitlines()) <= 5, done.stderr
    assert not (tmp_path / "ran").exists()


def test_no_flipped_bit_changes_a_weight_unseen(tmp_path):
    """Whichever bit flips, reading fails or returns exactly the written values."""
    file, values = tmp_path / "a.pt", {"model": {"w": torch.randn(64, 8)}, "step": 3}
    write(file, values)
    content, draw, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(400):
        altered = bytearray(content)
        altered[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(altered)
        try:
            loaded = read(file)
        except CheckpointError:
            refused += 1
        else:
            assert loaded["step"] == 3 and torch.equal(loaded["model"]["w"], values["model"]["w"])
    assert refused > 200


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "a.pt"
    write(file, {"step": 1})
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        write(file, {"step": lambda: None})
    assert read(file) == {"step": 1} and list(tmp_path.iterdir()) == [file]


def test_the_newest_keep_checkpoints_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, "sig", keep=2)
    for step in (5, 100, 20):
        checkpoints.save(step, {"step": step})
    assert [file.name for file in checkpoints.files()] == ["step-00000100.pt", "step-00000020.pt"]
    assert checkpoints.newest().name == "step-00000100.pt"


def test_another_configurations_checkpoint_is_refused(tmp_path, caplog):
    Checkpoints(tmp_path, "other", keep=2).save(1, {"step": 1})
    logging.getLogger("crate").propagate = True
    with pytest.raises(UserError, match="resume=never"):
        Checkpoints(tmp_path, "sig", keep=2).newest()
    assert "of another configuration" in caplog.text


def test_every_generator_resumes_its_sequence():
    import numpy

    states = generator_states()
    first = torch.rand(3), numpy.random.rand(3), random.random(), numpy.random.randn()
    set_generator_states(states)
    again = torch.rand(3), numpy.random.rand(3), random.random(), numpy.random.randn()
    assert torch.equal(first[0], again[0]) and (first[1] == again[1]).all()
    assert first[2:] == again[2:]
