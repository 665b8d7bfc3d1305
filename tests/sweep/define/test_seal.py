"""A job refuses a point or a snapshot that changed after the launch."""

from __future__ import annotations

import json

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from crate.data import facts
from crate.errors import UserError
from crate.paths import CONF
from crate.run.folder import RunFolder
from crate.run.records import read_json
from crate.sweep import job
from crate.sweep.code import snapshot
from crate.sweep.code.modules import Modules
from crate.sweep.define.freeze import freeze
from crate.sweep.job import Job
from crate.sweep.launch.record import write_point
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import LaunchEntry, Manifest
from crate.tasks.identity import file_hash


@pytest.fixture
def launched(tmp_path):
    """Return a point on a folder of images with initial weights, frozen but not run."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "tree" / split / name).mkdir(parents=True)
            (tmp_path / "tree" / split / name / "a.png").write_bytes(b"1234")
    torch.save({"head.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    words = [f"init_from={tmp_path}/weights.pt", "data=imagefolder", f"data.root={tmp_path}/tree"]
    words += [f"outputs={tmp_path}/out"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", words, RunMode.MULTIRUN)
        (point,) = freeze([words], master, loader)
    sweep = SweepFolder.create(point.config.outputs, "sweep", [])
    launch = LaunchEntry(time=0.0, launcher="local")
    manifest = Manifest(name="x", fixed=[], launches=[launch], points={})
    write_point(sweep, manifest, point, Modules([], {}))
    RunFolder.create(point.config.outputs, point.label, point.signature)
    return sweep, point.signature


def refusal(sweep, signature) -> str:
    """Return why a new process refuses to run a point, as its run folder records it."""
    for known in (facts._walk, file_hash):
        known.cache_clear()
    with pytest.raises(SystemExit):
        Job(sweep.path).run(signature, ends_process=False)
    (folder,) = (sweep.outputs / "runs").iterdir()
    status = read_json(folder / "status.json")
    assert status["state"] == "failed"
    return status["reason"]


def test_an_edited_point_changed_data_and_changed_weights_are_distinguished(launched, tmp_path):
    sweep, signature = launched
    file, image = sweep.point_file(signature), tmp_path / "tree" / "val" / "cat" / "a.png"
    written = file.read_text()
    values = json.loads(written)
    values["config"]["model"]["depth"] += 1
    file.write_text(json.dumps(values))
    assert f"the frozen point {file} was edited after its launch" in refusal(sweep, signature)
    file.write_text(written)
    image.write_bytes(b"12345")
    reason = refusal(sweep, signature)
    assert f"the files of {tmp_path}/tree changed since the launch" in reason
    assert "init_from" not in reason
    image.write_bytes(b"1234")
    torch.save({"head.weight": torch.ones(1)}, tmp_path / "weights.pt")
    reason = refusal(sweep, signature)
    assert "the weights of init_from=" in reason and "the files of" not in reason


def test_a_damaged_point_fails_its_run_by_name(launched):
    sweep, signature = launched
    file = sweep.point_file(signature)
    values = read_json(file)
    for damage, reason in (
        ("{", "is not JSON"),
        (json.dumps(values | {"config": {}}), "config.outputs is missing"),
        (json.dumps(values | {"modules": {"x": 1}}), "unexpected keyword argument 'x'"),
        (json.dumps(values | {"config": values["config"] | {"model": 3}}), "model has no _target_"),
    ):
        file.write_text(damage)
        message = refusal(sweep, signature)
        assert f"{file} is damaged" in message and reason in message, message


def test_a_point_of_an_earlier_version_has_no_seal_and_can_be_run_and_refused(launched, tmp_path):
    sweep, signature = launched
    file = sweep.point_file(signature)
    values = read_json(file)
    del values["digest"], values["inputs"]
    values["config"]["model"]["depth"] += 1
    file.write_text(json.dumps(values))
    reason = refusal(sweep, signature)
    assert "the point, its data or the weights of init_from changed since the launch" in reason


def test_a_job_refuses_a_damaged_snapshot(launched, tmp_path, monkeypatch):
    sweep, signature = launched
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "launch.py").write_text("1")
    code = snapshot.take(sweep.outputs, [], checkout)
    (code / "launch.py").unlink()
    monkeypatch.setattr(job, "CHECKOUT", code)
    assert f"{code} is damaged: launch.py is gone" in refusal(sweep, signature)
    with pytest.raises(UserError, match="launch again, or retry with --new-code"):
        snapshot.require_intact(code)
