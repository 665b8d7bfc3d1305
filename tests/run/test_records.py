"""Records and metrics: which are read back, which are reported as damaged, and which are kept."""

from __future__ import annotations

import json
import logging
import time

import pytest

from crate.config.schema import Objective
from crate.run import records
from crate.run.claim import Claim
from crate.run.folder import RunFolder, find, runs_by_signature
from crate.run.liveness import Owner, this_process
from crate.run.records import Damaged, warn_once
from crate.run.status import Status
from crate.sweep.stored.manifest import Manifest


def test_a_record_reads_back_as_it_was_and_keeps_what_it_does_not_know(tmp_path):
    status = Status(state="queued", claim=Claim(process=this_process()), test={"test/top1": 1})
    file = tmp_path / "status.json"
    records.write(file, status)
    assert records.read(Status, file) == status
    later = json.loads(file.read_text()) | {"version": 9, "color": ["blue"]}
    later["claim"]["shape"] = "round"
    file.write_text(json.dumps(later))
    records.write(file, records.read(Status, file))
    assert json.loads(file.read_text()) == later
    assert records.read(Status, tmp_path / "nowhere" / "status.json") is None


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (Status, "", "it is empty"),
        (Status, "\0\0\0", "it is empty"),
        (Status, '{"state": "run', "it is not JSON"),
        (Status, b"\xff\xfe{}", "it is not JSON"),
        (Status, "[]", "it is a list, not an object"),
        (Status, '{"step": true}', "step is true or false, not a whole number"),
        (Status, '{"step": 1.5}', "step is a number, not a whole number"),
        (Status, '{"state": []}', "state is []"),
        (Status, '{"claim": {"pool": 3}}', "claim.pool is a whole number, not a text"),
        (Status, '{"test": {"a": "b"}}', "test.a is a text, not a number"),
        (Owner, '{"host": "x"}', "pid is missing"),
        (Manifest, '{"name": "x", "fixed": [1], "points": {}}', "fixed[0] is a whole number"),
        (Manifest, '{"name": "x", "fixed": [], "points": {"a": {}}}', "points.a.overrides is miss"),
        (Manifest, "[" * 100_000, "damaged"),
    ],
)
def test_a_damaged_record_is_named_and_its_file_is_kept(tmp_path, kind, text, reason):
    file = tmp_path / "record.json"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    damaged = file.read_bytes()
    with pytest.raises(Damaged) as error:
        records.read(kind, file)
    assert str(file) in str(error.value) and reason in str(error.value), error.value
    for number in (1, 2):
        file.write_bytes(damaged)
        assert records.keep_damaged(kind, file).name == f"record.json.damaged-{number}"
        assert file.with_name(f"record.json.damaged-{number}").read_bytes() == damaged


def test_a_file_that_cannot_be_read_is_not_replaced(tmp_path):
    (tmp_path / "status.json").mkdir()
    with pytest.raises(records.Unreadable, match="cannot read"):
        records.write(tmp_path / "status.json", Status())
    RunFolder(tmp_path).update_status(step=1)  # a run goes on
    assert (tmp_path / "status.json").is_dir()


def test_a_live_run_replaces_a_damaged_status(tmp_path):
    folder = RunFolder(tmp_path)
    folder.update_status(state="running", step=5, attempts=2)
    (tmp_path / "status.json").write_text("{")
    folder.update_status(step=6)
    assert (folder.status.state, folder.status.step, folder.status.attempts) == ("running", 6, 2)
    assert (tmp_path / "status.json.damaged-1").read_text() == "{"


def test_a_label_may_contain_old(tmp_path):
    names = ("a-old-b-000000000001", "c-old-000000000002", "d-000000000003")
    names += ("lr1e-05-old-000000000004",)
    for name in (*names, "d-000000000003-old-1", "a-old-b-000000000001-old-12"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    folders = runs_by_signature(tmp_path)
    assert {path.name for path in folders.values()} == set(names)
    assert all(find(str(tmp_path), key) == path for key, path in folders.items())
    (tmp_path / "runs" / "e-old-f-00000000000a").mkdir()
    aside = RunFolder(tmp_path / "runs" / "e-old-f-00000000000a").set_aside()
    assert aside not in runs_by_signature(tmp_path).values()


def test_damaged_metrics_are_named_and_left_out(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("crate"), "propagate", True)
    warn_once.cache_clear()
    folder = RunFolder(tmp_path)
    lines = [b'{"step": 1, "a": NaN}', b"\xff\xfe\x00", b'{"a": 2}', b"[3]", b"7", b'{"step": "4"}']
    lines += [b'{"step": 5}', b'{"step": true}', b'{"step": 9}', b'{"ste']
    folder.metrics.write_bytes(b"\n".join(lines))
    assert [row["step"] for row in folder.read_metrics()] == [1, 5, 9]
    assert "lines 2, 3, 4, 5, 6, 8 are damaged and left out" in caplog.text


def test_a_status_of_version_1_is_read_and_kept_in_the_new_form(tmp_path):
    values = {
        "state": "finished",
        "claim": None,
        "attempts": 1,
        "reason": None,
        "traceback": None,
        "sigterm_at": None,
        "step": 46,
        "total_steps": 46,
        "heartbeat": time.time(),
        "best_top1": 60,
        "best_step": 46,
        "last_top1": 60.0,
        "best_chosen_on": "the evaluation split",
        "test": {},
        "measured": {
            "shape": "a",
            "device_s_per_epoch": 1,
            "hardware": "cpu",
            "in_slurm": False,
        },
    }
    (tmp_path / "status.json").write_text(json.dumps(values))
    status = RunFolder(tmp_path).read_status()
    assert (status.best, status.measured.hardware, status.unknown) == (60, "cpu", {})
    assert (status.last, status.compared_by) == (60.0, Objective("val/top1"))
    RunFolder(tmp_path).update_status(reason="again")
    written = json.loads((tmp_path / "status.json").read_text())
    assert (written["version"], written["last"], written["best"]) == (2, 60.0, 60)
    assert not {"last_top1", "best_top1"} & written.keys()


def test_a_point_that_runs_in_a_snapshot_of_version_1_is_read_after_a_launch_of_version_2(tmp_path):
    """The old code keeps unknown fields, among them the number of the version."""
    RunFolder(tmp_path).update_status(state="queued", best=50.0, last=40.0)
    values = json.loads((tmp_path / "status.json").read_text())
    assert (values["version"], values["best"]) == (2, 50.0)
    values |= {"state": "finished", "best_top1": 80.0, "last_top1": 70.0}
    (tmp_path / "status.json").write_text(json.dumps(values))
    status = RunFolder(tmp_path).read_status()
    assert (status.state, status.best, status.last) == ("finished", 80.0, 70.0)


def test_a_damaged_meta_is_kept_and_its_run_resumes(tmp_path):
    folder = RunFolder(tmp_path)
    folder.update_meta(revision=None, auto={"precision": "bf16"}, code={"a.py": "1"})
    folder.update_meta(ranks=2)
    assert (folder.meta.auto, folder.meta.code) == ({"precision": "bf16"}, {"a.py": "1"})
    assert folder.meta.unknown == {"revision": None, "ranks": 2}
    for text in ('{"auto": [1]}', "{", '{"code": 3}'):
        (tmp_path / "meta.json").write_text(text)
        assert folder.meta.auto == {}
    folder.update_meta(ranks=1)
    assert folder.meta.unknown == {"ranks": 1}
    assert (tmp_path / "meta.json.damaged-1").read_text() == '{"code": 3}'
