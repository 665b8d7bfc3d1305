"""The rows of metrics.jsonl survive the loss of the file, or the loss is marked."""

from __future__ import annotations

import json

import pytest

from crate.train.archive import history as history_module
from crate.train.archive.history import History


@pytest.fixture
def written(tmp_path):
    """Return a function that makes a history of `number` steps with its file, two rows per step."""

    def write(number: int) -> History:
        history = History(tmp_path / "metrics.jsonl")
        with open(history.file, "w") as file:
            for step in range(1, number + 1):
                for metrics in ({"train/loss": 1 / step}, {"val/loss": 0.1 * step}):
                    history.add(step, metrics)
                    file.write(history.lines[-1] + "\n")
        return history

    return write


def resumed(saved: History, step: int) -> list[dict]:
    """Return the rows of the file after a resume with the values that `saved` returns."""
    History(saved.file).resume(saved.state_dict(), step, step)
    return [json.loads(line) for line in saved.file.read_text().splitlines()]


def damages(text: str) -> dict[str, str | bytes | None]:
    lines = text.splitlines(keepends=True)
    return {
        "deleted": None,
        "emptied": "",
        "cut": "".join(lines[:7]),
        "torn": text[:-9],
        "a hole": "".join(lines[:3] + lines[9:]),
        "a changed value": text.replace("0.5", "0.4"),
        "not UTF-8": b"\xff\xfe" + text.encode(),
        "no rows": '[]\n3\n{"loss": 1}\n',
    }


def test_a_damaged_file_is_rebuilt_from_the_checkpoint_and_logged(written, caplog):
    history = written(10)
    text = history.file.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert resumed(history, 10) == rows and not caplog.records
    for name, content in damages(text).items():
        if content is None:
            history.file.unlink()
        else:
            history.file.write_bytes(content if isinstance(content, bytes) else content.encode())
        caplog.clear()
        assert resumed(history, 10) == rows, name
        assert "rebuilt 20 rows up to step 10" in caplog.text, name
    kept = sorted(history.file.parent.glob("metrics.jsonl.damaged-*"))
    contents = [damages(text)[name] for name in ("a changed value", "not UTF-8", "no rows")]
    assert [path.read_bytes() for path in kept] == [
        content if isinstance(content, bytes) else content.encode() for content in contents
    ]


def test_rows_beyond_the_checkpoint_are_dropped_and_not_logged(written, caplog):
    history = written(10)
    saved = history.state_dict()
    with open(history.file, "a") as file:
        file.write('{"step": 11, "train/loss": 1.0}\n{"step": 12, "tr')
    History(history.file).resume(saved, 10, 10)
    assert history.file.read_text().splitlines() == history.lines and not caplog.records


def test_rows_older_than_the_checkpoints_come_from_the_file_or_are_marked_as_lost(
    written, caplog, monkeypatch
):
    monkeypatch.setattr(history_module, "LIMIT", 6)
    history = written(10)
    text = history.file.read_text()
    assert (history.num_before, len(history.lines)) == (14, 6)
    lines = text.splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    history.file.write_text("".join(lines[:15]))  # the newest are gone
    assert resumed(history, 10) == rows
    history.file.write_text("".join(lines[:4]))  # and some that no checkpoint has
    caplog.clear()
    assert resumed(history, 10) == [*rows[:4], {"step": 8, "lost_rows": 10}, *rows[14:]]
    assert "10 rows before step 8 are lost" in caplog.text
    caplog.clear()
    again = History(history.file)
    again.lines, again.num_before = history.lines.copy(), 5  # as it goes on after that
    assert resumed(again, 10)[4] == {"step": 8, "lost_rows": 10} and not caplog.records


def test_a_checkpoint_of_an_earlier_version_has_no_rows_and_the_gap_is_marked(written, caplog):
    history = written(10)
    rows = [json.loads(line) for line in history.file.read_text().splitlines()]
    old = History(history.file)
    old.resume(None, 8, 8)
    assert old.lines == history.lines[:16] and not caplog.records
    old.file.write_text("".join(f"{line}\n" for line in history.lines[:6]))
    old.resume(None, 8, 8)
    assert "the rows of steps 4 to 8 are lost" in caplog.text
    kept = [json.loads(line) for line in old.file.read_text().splitlines()]
    assert kept == [*rows[:6], {"step": 8, "lost_rows": None}]
    assert old.evaluation(3) == {"val/loss": 0.1 * 3} and old.evaluation(8) == {}


def test_an_evaluation_after_the_checkpoint_is_dropped_and_not_logged(written, caplog):
    history = written(10)
    saved = history.state_dict()
    with open(history.file, "a") as file:  # a resumed run evaluated first, and was killed then
        file.write('{"step": 10, "val/top1": 50.0}\n{"step": 11, "train/loss": 1.0}\n')
    History(history.file).resume(saved, 10, 10)
    assert history.file.read_text().splitlines() == history.lines and not caplog.records
    assert not list(history.file.parent.glob("*.damaged-*"))
