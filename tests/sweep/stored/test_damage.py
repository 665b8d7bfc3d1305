"""Damaged or missing files of a sweep are named, kept and rebuilt; the other files still work."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace

import pytest

from crate.errors import UserError
from crate.run.ownership import Ownership
from crate.run.records import Damaged, warn_once
from crate.sweep.__main__ import main
from crate.sweep.commands import clean, removal, retry
from crate.sweep.launchers.local import LocalLauncher
from crate.sweep.state import UNFINISHED, look
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import Attempt, LaunchEntry, Manifest, SweepPoint
from crate.sweep.stored.outputs import sweeps
from crate.sweep.stored.point_file import PointFile

FIXED = ["model=crate_nano", "train.epochs=3"]
KEYS = [f"{number:012x}" for number in range(0xA, 0xE)]


@pytest.fixture(autouse=True)
def warnings(caplog, monkeypatch):
    """Return the warnings of the test, even if other tests called `say_on_console`."""
    warn_once.cache_clear()
    monkeypatch.setattr("crate.sweep.commands.removal.say_on_console", lambda speaks: None)
    monkeypatch.setattr("crate.sweep.commands.retry.say_on_console", lambda speaks: None)
    monkeypatch.setattr(logging.getLogger("crate"), "propagate", True)
    return caplog


def finished(**values) -> dict:
    return {"state": "finished", "last": 50.0, "best": 51.0, "heartbeat": 0} | values


def made(outputs, name="lambda", keys=KEYS, *, old=False) -> SweepFolder:
    """Write a sweep with its frozen points and finished runs; `old` as an earlier version did."""
    sweep = SweepFolder.create(outputs, name, FIXED)
    launch = LaunchEntry(time=7.0, launcher="local", command=["launch.py", "-m"], code="c0de")
    points = {}
    for number, key in enumerate(keys):
        swept = {"model.sparsity": number / 10}
        overrides = [*FIXED, "data.workers=0", f"model.sparsity={number / 10}"]
        point = PointFile(
            signature=key,
            label="crate",
            overrides=overrides,
            swept=swept,
            config={
                "outputs": str(outputs),
                "device": "cpu",
                "data": {"root": None},
                "name": None,
                "sweep": {"name": name, "question": "Why?", "metric": "val/loss", "seeds": [0]},
            },
            folder=str(outputs),
            fixed=None if old else FIXED,
            launch=None if old else launch,
        )
        sweep.point_file(key).write_text(json.dumps(point.to_json()))
        run = outputs / "runs" / f"crate-{key}"
        run.mkdir(parents=True, exist_ok=True)
        claim = {"slurm": f"7_{number}"}
        (sweep.jobs / f"7_{number}_0_log.out").touch()
        (run / "status.json").write_text(json.dumps(finished(claim=claim)))
        attempt = Attempt(code="c0de", time=7.0, slurm=f"7_{number}")
        points[key] = SweepPoint(overrides=overrides, swept=swept, attempts=[attempt])
    manifest = Manifest(
        name=name,
        fixed=FIXED,
        question="Why?",
        metric="val/loss",
        seeds=[0],
        launches=[launch],
        points=points,
    )
    sweep.write_manifest(manifest)
    return sweep


DAMAGE = ["", "\0" * 100, '{"name": "lambda"}', '{"points": []}', "[1]", '{"name": 7', "[" * 9999]


@pytest.mark.parametrize("text", [*DAMAGE, None], ids=range(len(DAMAGE) + 1))
def test_a_damaged_or_missing_manifest_is_rebuilt_as_it_was(tmp_path, warnings, text):
    sweep, other = made(tmp_path), made(tmp_path, "other", KEYS[:1])
    before, file = sweep.manifest, sweep.path / "manifest.json"
    file.unlink() if text is None else file.write_text(text)
    assert sweep.manifest == before and other.manifest.name == "other"
    assert {each.path for each in sweeps(tmp_path)} == {sweep.path, other.path}
    assert not file.exists() if text is None else file.read_text() == text  # nothing is written
    sweep.repair()
    assert json.loads(file.read_text()) == before.to_json()
    kept = [path.read_text() for path in sweep.path.glob("manifest.json.damaged-*")]
    assert kept == ([] if text is None else [text])


def test_a_manifest_is_rebuilt_from_points_of_an_earlier_version(tmp_path):
    sweep = made(tmp_path, old=True)
    before = sweep.manifest
    (sweep.path / "manifest.json").unlink()
    unknown = {
        key: replace(point, attempts=[replace(point.attempts[0], code=None, time=None)])
        for key, point in before.points.items()
    }
    assert sweep.manifest == replace(before, launches=[], points=unknown)
    (tmp_path / "code" / "c0de").mkdir(parents=True)
    clean.clean(tmp_path, yes=True)
    assert (tmp_path / "code" / "c0de").exists()  # the runs may need it


def test_commands_name_the_damaged_file_and_show_the_rest(tmp_path, capsys, warnings):
    sweep, _ = made(tmp_path), made(tmp_path, "other", KEYS[:1])
    (sweep.path / "manifest.json").write_text("{}")
    sweep.point_file(KEYS[0]).write_text('{"signature": 1}')
    assert main([f"--outputs={tmp_path}", "list"]) == 0
    shown = capsys.readouterr().out
    assert "3 finished" in shown and "1 finished" in shown
    for command in (["status", "lambda"], ["results", "lambda"], ["status", "other"]):
        assert main([f"--outputs={tmp_path}", *command]) == 0
    warned = warnings.text
    assert f"{sweep.path / 'manifest.json'} is damaged: name is missing" in warned
    assert f"{KEYS[0]}.json is damaged: signature is a whole number, not a text" in warned
    assert (sweep.path / "manifest.json").read_text() == "{}"


def test_a_status_of_another_shape_is_damaged_and_is_retried(tmp_path, capsys):
    sweep = made(tmp_path)
    texts = ("7", '{"state": "finished"}', '{"state": "odd"}', '{"state": "running", "step": "x"}')
    for key, text in zip(KEYS, texts, strict=True):
        (tmp_path / "runs" / f"crate-{key}" / "status.json").write_text(text)
    paths = {key: tmp_path / "runs" / f"crate-{key}" for key in KEYS}
    states = look(paths)
    assert {state.state for state in states.values()} == {"damaged"} <= set(UNFINISHED)
    assert "last or best is missing" in states[KEYS[1]].reason
    assert "step is a text, not a whole number" in states[KEYS[3]].reason
    for command in ("list", "status lambda", "results lambda", "status lambda --json"):
        assert main([f"--outputs={tmp_path}", *command.split()]) in (0, 1)
    assert main([f"--outputs={tmp_path}", "path", sweep.path.name, KEYS[0]]) == 0


def test_retry_names_a_damaged_point_and_continues_with_the_others(tmp_path, monkeypatch, warnings):
    sweep, handed = made(tmp_path), {}
    for key in KEYS[:3]:
        status = json.dumps({"state": "failed", "reason": "x", "heartbeat": 0})
        (tmp_path / "runs" / f"crate-{key}" / "status.json").write_text(status)
    sweep.point_file(KEYS[0]).write_text('{"label": "x"}')
    sweep.point_file(KEYS[1]).unlink()
    (tmp_path / "code" / "c0de").mkdir(parents=True)
    monkeypatch.setattr(retry.snapshot, "require_intact", lambda code: None)
    monkeypatch.setattr(
        LocalLauncher, "run", lambda self, request, watch: handed.update(request.todo)
    )
    assert retry.retry(sweep, [], UNFINISHED, new_code=False) == 1
    assert list(handed) == [KEYS[2]]
    errors = [each.getMessage() for each in warnings.records if each.levelname == "ERROR"]
    assert "signature is missing, so that sparsity=0.0 is not run again" in errors[0]
    assert "is missing, so that sparsity=0.1 is not run again" in errors[1]
    assert all("python launch.py -m" in error for error in errors)


def test_a_sweep_without_manifest_still_protects_its_runs(tmp_path):
    sweep, other = made(tmp_path), made(tmp_path, "other")
    (sweep.path / "manifest.json").unlink()
    sweep.point_file(KEYS[0]).write_text("damaged")
    assert main([f"--outputs={tmp_path}", "clean", other.path.name, "--yes"]) == 0
    assert not other.path.exists() and len(list((tmp_path / "runs").iterdir())) == 4


@pytest.mark.parametrize("what", ["live", "new"])
def test_clean_decides_again_after_the_answer(tmp_path, monkeypatch, what):
    sweep = made(tmp_path)
    runs = sorted((tmp_path / "runs").iterdir())

    def meanwhile(question):
        assert not list((tmp_path / "sweeps" / ".lock").glob("owner-*"))  # nobody has to wait
        if what == "live":
            status = json.dumps({"state": "running", "heartbeat": time.time()})
            (runs[0] / "status.json").write_text(status)
            Ownership.take(runs[0])
        else:
            made(tmp_path, "other", KEYS[:1])
        return True

    monkeypatch.setattr(removal, "confirms", meanwhile)
    with pytest.raises(UserError, match="is running" if what == "live" else "nothing was removed"):
        clean.clean_sweep(sweep, yes=False)
    assert sweep.path.exists() and sorted((tmp_path / "runs").iterdir()) == runs


def test_a_run_that_is_taken_at_the_last_moment_is_not_removed(tmp_path):
    sweep = made(tmp_path)
    runs = sorted((tmp_path / "runs").iterdir())
    Ownership.take(runs[2])  # its status still says that it is finished
    with pytest.raises(UserError, match=f"{runs[2].name} is being run"):
        clean.clean_sweep(sweep, yes=True)
    assert sorted((tmp_path / "runs").iterdir()) == runs and sweep.path.exists()
    assert all(Ownership.take(run) for run in runs[:2])  # given back


def test_a_missing_point_is_named_by_its_file(tmp_path):
    with pytest.raises(Damaged, match=f"{KEYS[0]}.json is missing"):
        SweepFolder(tmp_path / "sweeps" / "x-1").point(KEYS[0])
