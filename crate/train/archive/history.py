"""The rows of metrics.jsonl, also kept in the checkpoints, so that a resumed run has them all."""

from __future__ import annotations

import json
import logging
from itertools import takewhile
from pathlib import Path
from typing import Any

from crate.run.records import free_name, whole_file
from crate.tracking.jsonl import as_line

logger = logging.getLogger("crate")

LIMIT = 10_000  # rows in a checkpoint; about 2.5 MB


class History:
    """The newest `LIMIT` rows of metrics.jsonl as lines, and how many came before them.

    When a run resumes and when it ends, the file is compared with these rows and rebuilt from them.
    Rows that cannot be rebuilt are replaced by one row with their number as `lost_rows` (null:
    unknown).
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines: list[str] = []
        self.num_before = 0

    def add(self, step: int, metrics: dict[str, float]) -> None:
        """Add a row that is being written to the file."""
        self.lines.append(as_line(step, metrics))
        self._trim()

    def evaluation(self, step: int) -> dict[str, float]:
        """Return the metrics of the evaluation at `step`; those of the test split are left out."""
        rows = [row for row in map(json.loads, self.lines) if row["step"] == step]
        values = {name: value for row in rows for name, value in row.items() if "/" in name}
        return {
            name: value
            for name, value in values.items()
            if not name.startswith(("train/", "test/"))
        }

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"num_before": self.num_before, "lines": "\n".join(self.lines)}

    def resume(self, saved: dict[str, Any] | None, step: int, last_row_at: int) -> None:
        """Restore the rows that a checkpoint saved, and cut the file to its `step`.

        The resumed run writes later rows again. If the checkpoint is of an earlier version (`saved`
        is None), the rows are read from the file, which should reach `last_row_at`.
        """
        if saved is not None:
            self.lines, self.num_before = saved["lines"].splitlines(), saved["num_before"]
            self._cut_later_rows(step)
            return self.rebuild(step)
        lines = self._lines_of_file(step)
        reached = _step(lines[-1]) if lines else 0
        if reached < last_row_at:
            logger.warning(
                "%s: the rows of steps %d to %d are lost", self.file, reached + 1, last_row_at
            )
            lines.append(json.dumps({"step": last_row_at, "lost_rows": None}))
        self._write(lines, step)
        self.lines = lines.copy()
        self._trim()

    def rebuild(self, step: int) -> None:
        """Rewrite the file with the rows up to `step`, and warn of the missing ones."""
        lines = self._lines_of_file(step)
        if lines[self.num_before :] == self.lines and len(lines) >= self.num_before:
            return self._write(lines, step)
        first = _step(self.lines[0]) if self.lines else step + 1
        before = list(takewhile(lambda line: _step(line) < first, lines))[: self.num_before]
        logger.warning(
            "%s was cut, changed or removed: rebuilt %d rows up to step %d",
            self.file,
            len(self.lines),
            step,
        )
        if num_lost := self.num_before - len(before):
            logger.warning("%s: %d rows before step %d are lost", self.file, num_lost, first)
            before.append(json.dumps({"step": first, "lost_rows": num_lost}))
        self.num_before = len(before)
        self._write([*before, *self.lines], step)

    def _cut_later_rows(self, step: int) -> None:
        """Remove the rows of an evaluation at `step` that came after the checkpoint of `step`.

        The resumed run writes them again.
        """
        lines, end = self._lines_of_file(step), self.num_before + len(self.lines)
        is_prefix = lines[self.num_before : end] == self.lines and len(lines) > end
        if is_prefix and all(_step(line) == step for line in lines[end:]):
            self._write(lines[:end], step - 1)

    def _trim(self) -> None:
        excess = max(0, len(self.lines) - LIMIT)
        del self.lines[:excess]
        self.num_before += excess

    def _lines_of_file(self, step: int) -> list[str]:
        """Return the lines of the file up to `step`, without damaged ones."""
        try:
            lines = self.file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if -1 < _step(line) <= step]

    def _write(self, lines: list[str], step: int) -> None:
        """Write `lines` to the file; keep a copy of a file that holds other lines up to `step`."""
        content = "".join(f"{line}\n" for line in lines).encode()
        old = self.file.read_bytes() if self.file.exists() else None
        if old == content:
            return
        if old is not None and _holds_others(old, lines, step):
            kept = free_name(self.file)
            self.file.rename(kept)
            logger.warning("%s holds other lines than this run wrote; kept as %s", self.file, kept)
        with whole_file(self.file) as file:
            file.write(content)


def _holds_others(content: bytes, lines: list[str], step: int) -> bool:
    """Return whether a file holds lines up to `step` that are not in `lines`.

    A torn last line does not count.
    """
    *whole, _ = content.decode(errors="replace").split("\n")
    known = set(lines)
    return any(line not in known and _step(line) <= step for line in whole)


def _step(line: str) -> int:
    """Return the step of a row; -1 if the line is not a row."""
    try:
        row = json.loads(line)
    except ValueError:
        return -1
    step = row.get("step") if isinstance(row, dict) else None
    return step if isinstance(step, int) else -1
