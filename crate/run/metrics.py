"""The rows of `metrics.jsonl`, read in spite of torn and damaged lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crate.errors import shorten
from crate.run.records import warn_once

Row = dict[str, Any]  # "step" and the metrics by name; JSON values


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a file, each with its step; [] if there is no file.

    A torn last line is dropped. Damaged lines are left out, with one warning.
    """
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    rows = [as_row(line) for line in lines]
    damaged = [number for number, row in enumerate(rows[:-1], 1) if row is None]
    if damaged:
        warn_once(f"{file}: {_in_words(damaged)} damaged and left out")
    return [row for row in rows if row is not None]


def as_row(line: bytes | str) -> Row | None:
    """Return a line as values with a step; None if it is not that."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None


def _in_words(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]} is"
    return f"lines {shorten(map(str, numbers), 6)} are"
