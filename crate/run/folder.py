"""What a run folder holds, and how it is written and read.

    outputs/runs/<label>-<signature>/
        config.yaml            the resolved configuration, frozen
        .hydra/overrides.yaml  what was typed
        status.json            state, step, heartbeat, attempts, reason
        meta.json              code, versions and machine; what `auto` became
        metrics.jsonl          one line a measurement; grows
        log                    what was said; grows
        curve.png              the training curve
        trace.json.gz          a profile, where train.profile asks for one
        wandb/, tensorboard/   the tracker's own files
        checkpoints/           see crate/train/checkpoints/checkpoint.py
        owner-<n>.json         who runs it; see crate/run/ownership.py
        cancelled.json         it was taken back: it ends, or does not begin

All but `metrics.jsonl` and `log` appear whole or not at all. Imports no torch.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from crate.errors import UserError, shorten
from crate.run import records
from crate.run.meta import Meta
from crate.run.records import Unreadable, warn_once, whole_file
from crate.run.secrets import redact
from crate.run.status import Status

logger = logging.getLogger("crate")


def find(outputs: str, signature: str) -> Path | None:
    """Returns the folder of a configuration, whatever its label, or None."""
    found = sorted(Path(outputs, "runs").glob(f"*-{signature}"))
    return found[0] if found else None


def runs_by_signature(outputs: str | Path) -> dict[str, Path]:
    """Return every run folder below `outputs`, except those set aside."""
    folder = Path(outputs, "runs")
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.name.rpartition("-")[2]: path
        for path in paths
        if not is_set_aside(path) and not path.name.startswith(".")
    }


def is_set_aside(path: Path) -> bool:
    """Tell whether a run folder was set aside: named <label>-<signature>-old-<n>."""
    return re.search(r"-[0-9a-f]{12}-old-\d{1,6}$", path.name) is not None


def remove(path: Path) -> None:
    """Remove a run folder, which has another name before its first file goes."""
    leaving = path.with_name(f".{path.name}.{os.getpid()}.removed")
    path.rename(leaving)
    shutil.rmtree(leaving)


def require_writable(outputs: str, key: str = "outputs") -> None:
    """Raise UserError if no folder can be made in `outputs`, by making one and removing it.

    `key` is the one that names the folder.
    """
    place = Path(outputs)
    while not os.path.lexists(place):
        place = place.parent
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".writable-", dir=place))
    except OSError as error:
        reason = f"cannot write to {outputs}: {error.strerror}"
        raise UserError(reason, "a writable folder", f"{key}=FOLDER") from error


class RunFolder:
    """One run's folder; only its owner writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "log"
        self.curve = path / "curve.png"
        self.cancelled = path / "cancelled.json"
        self._status_lock = threading.Lock()
        self._unwritten: dict[str, Any] = {}
        self._written = Status()

    @classmethod
    def create(cls, outputs: str, label: str, signature: str) -> RunFolder:
        """Returns the folder of a configuration below `outputs`/runs, made if need be.

        Two that make it at once under different labels agree on the same one. Raises UserError
        where it cannot be made.
        """
        try:
            if (path := find(outputs, signature)) is None:
                made = Path(outputs, "runs", f"{label}-{signature}")
                made.mkdir(parents=True, exist_ok=True)
                path = find(outputs, signature) or made
                if path != made:
                    made.rmdir()
            (path / "checkpoints").mkdir(exist_ok=True)
            (path / ".hydra").mkdir(exist_ok=True)
        except OSError as error:
            reason = f"cannot write to {outputs}: {error.strerror}"
            raise UserError(reason, "a writable folder", "outputs=FOLDER") from error
        return cls(path)

    def remove_temporary_files(self) -> None:
        """Removes what a killed owner was writing; only the folder's owner may."""
        for file in [*self.path.glob(".*.tmp"), *self.checkpoints.glob(".*.tmp")]:
            file.unlink(missing_ok=True)

    @property
    def status(self) -> Status:
        """The run's status; an empty one if there is none yet or it is damaged."""
        try:
            return self.read_status()
        except Unreadable:
            return Status()

    def read_status(self) -> Status:
        """Return the run's status; raise Damaged if status.json is not one."""
        return records.read(Status, self.path / "status.json") or Status()

    @property
    def meta(self) -> Meta:
        """The run's meta.json; an empty one if there is none yet or, with a warning, if damaged."""
        try:
            return records.read(Meta, self.path / "meta.json") or Meta()
        except Unreadable as error:
            warn_once(f"{error.given}; what it told of the run's code and of `auto` is not known")
            return Meta()

    def update_status(self, **values: Any) -> None:
        """Change some fields of the status, without secrets in its texts, and renew its heartbeat.

        What a full disk refuses is written with the next change. In place of a damaged status the
        last one that this object wrote is changed.
        """
        texts = {key: redact(values[key]) for key in ("reason", "traceback") if key in values}
        with self._status_lock:
            self._unwritten |= values | texts
            try:
                status = self.read_status()
            except Unreadable:
                status = self._written
            status = replace(status, **self._unwritten, heartbeat=time.time())
            try:
                records.write(self.path / "status.json", status)
                self._unwritten, self._written = {}, status
            except (OSError, Unreadable) as error:
                logger.debug("status.json: %s", error)

    def freeze(self, config: dict[str, Any], overrides: list[str]) -> None:
        """Writes the resolved configuration and what was typed, without secrets."""
        with whole_file(self.path / "config.yaml") as file:
            file.write(yaml.safe_dump(redact(config), sort_keys=False).encode())
        with whole_file(self.path / ".hydra" / "overrides.yaml") as file:
            file.write(yaml.safe_dump(redact(overrides)).encode())

    def update_meta(self, **values: Any) -> None:
        """Change some values of meta.json."""
        meta = Meta.from_json(self.meta.to_json() | values)
        records.write(self.path / "meta.json", meta)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl, each with its step; a torn last line is dropped.

        Damaged lines are left out, with a warning.
        """
        rows, damaged = self._metrics()
        if damaged:
            warn_once(f"{self.metrics}: {_lines(damaged)} damaged and left out")
        return rows

    def _metrics(self) -> tuple[list[dict[str, Any]], list[int]]:
        """Return the whole rows of metrics.jsonl, and the numbers of its damaged lines."""
        try:
            lines = self.metrics.read_bytes().splitlines()
        except FileNotFoundError:
            return [], []
        rows, damaged = [], []
        for number, line in enumerate(lines, 1):
            row = _row(line)
            if row is not None:
                rows.append(row)
            elif number < len(lines):
                damaged.append(number)
        return rows, damaged

    def size_mb(self) -> float:
        """Returns what the folder takes on disk (1e6 bytes)."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()) / 1e6

    def set_aside(self) -> Path:
        """Renames the folder to ...-old-<n>, which nothing finds or deletes; returns its path."""
        number = 1
        while (old := self.path.with_name(f"{self.path.name}-old-{number}")).exists():
            number += 1
        self.path.rename(old)
        return old


def _row(line: bytes) -> dict[str, Any] | None:
    """Return a line of metrics.jsonl as values with a step; None if it is not that."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None


def _lines(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]} is"
    return f"lines {shorten(map(str, numbers), 6)} are"
