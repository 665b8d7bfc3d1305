"""A run folder: what it holds, and how it is written and read.

    outputs/runs/<label>-<signature>/
        config.yaml            the resolved configuration, frozen
        .hydra/overrides.yaml  what was typed
        status.json            state, step, heartbeat, attempts, reason
        meta.json              code, versions and machine; the `auto` values
        metrics.jsonl          one line per measurement; grows
        log                    what the run logged; grows
        curve.png              the training curve
        trace.json.gz          a profile, if train.profile asks for one
        wandb/, tensorboard/   the tracker's own files
        checkpoints/           see crate/train/checkpoints/checkpoint.py
        owner-<n>.json         who runs it; see crate/run/ownership.py
        cancelled.json         the mark of a cancelled run: it ends, or does not begin

All but `metrics.jsonl` and `log` appear whole or not at all. Imports no torch.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from crate.errors import UserError
from crate.run import records
from crate.run.claim import Claim
from crate.run.meta import Meta
from crate.run.metrics import Row, read_rows
from crate.run.records import Unreadable, warn_once, whole_file
from crate.run.secrets import redact
from crate.run.status import Cancellation, Status
from crate.run.status_file import StatusFile


def find(outputs: str, signature: str) -> Path | None:
    """Return the folder of a configuration, whatever its label; None if there is none."""
    paths = sorted(Path(outputs, "runs").glob(f"*-{signature}"))
    return paths[0] if paths else None


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
    """Return whether a run folder was set aside: its name is <label>-<signature>-old-<n>."""
    return re.search(r"-[0-9a-f]{12}-old-\d{1,6}$", path.name) is not None


def remove(path: Path) -> None:
    """Remove a run folder; it is renamed first, so that nobody finds a part of it."""
    leaving = path.with_name(f".{path.name}.{os.getpid()}.removed")
    path.rename(leaving)
    shutil.rmtree(leaving)


def require_writable(outputs: str, key: str = "outputs") -> None:
    """Raise UserError if no folder can be made in `outputs`; make one and remove it to find out.

    `key` is the configuration key that holds `outputs`.
    """
    existing = Path(outputs)
    while not os.path.lexists(existing):
        existing = existing.parent
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".writable-", dir=existing))
    except OSError as error:
        reason = f"cannot write to {outputs}: {error.strerror}"
        raise UserError(reason, "a writable folder", f"{key}=FOLDER") from error


class RunFolder:
    """One run's folder; only its owner writes, except for a launcher before the run begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.log = path / "log"
        self.curve = path / "curve.png"
        self._cancelled = path / "cancelled.json"
        self._status = StatusFile(path / "status.json")

    @classmethod
    def create(cls, outputs: str, label: str, signature: str) -> RunFolder:
        """Return the folder of a configuration below `outputs`/runs, made if it is missing.

        Two processes that make it at once under different labels agree on one of them. Raise
        UserError if it cannot be made.
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

    @property
    def status(self) -> Status:
        """The run's status; an empty one if there is none yet or it is damaged."""
        try:
            return self.read_status()
        except Unreadable:
            return Status()

    def read_status(self) -> Status:
        """Return the run's status; raise Damaged if status.json is not one."""
        return self._status.read()

    def update_status(self, **values: Any) -> None:
        """Change some fields of the status and renew its heartbeat; see StatusFile.update."""
        self._status.update(**values)

    def renew_heartbeat(self) -> None:
        """Record that the run's process is alive."""
        self.update_status()

    def queue(self, claim: Claim) -> None:
        """Record that the run waits for `claim`; an earlier cancellation no longer counts."""
        self.withdraw_cancellation()
        self.update_status(state="queued", reason=None, claim=claim, sigterm_at=None)

    def stop(self, reason: str | None) -> None:
        """Record that the run was stopped, and can go on."""
        self.update_status(state="stopped", reason=reason)

    def fail(self, reason: str, traceback: str | None = None) -> None:
        """Record that the run failed."""
        self.update_status(state="failed", reason=reason, traceback=traceback)

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is cancelled: it must end, or must not begin."""
        return self._cancelled.exists()

    def cancel(self) -> None:
        """Mark the run as cancelled."""
        records.write(self._cancelled, Cancellation(time=time.time()))

    def withdraw_cancellation(self) -> None:
        """Remove the mark of `cancel`, if there is one."""
        self._cancelled.unlink(missing_ok=True)

    @property
    def meta(self) -> Meta:
        """The run's meta.json; an empty one if there is none yet or, with a warning, if damaged."""
        try:
            return records.read(Meta, self.path / "meta.json") or Meta()
        except Unreadable as error:
            warn_once(f"{error.given}; the run's code and its `auto` values are not known")
            return Meta()

    def update_meta(self, **values: Any) -> None:
        """Change some values of meta.json."""
        meta = Meta.from_json(self.meta.to_json() | values)
        records.write(self.path / "meta.json", meta)

    def freeze(self, config: dict[str, Any], overrides: list[str]) -> None:
        """Write the resolved configuration and the typed overrides, without secrets."""
        with whole_file(self.path / "config.yaml") as file:
            file.write(yaml.safe_dump(redact(config), sort_keys=False).encode())
        with whole_file(self.path / ".hydra" / "overrides.yaml") as file:
            file.write(yaml.safe_dump(redact(overrides)).encode())

    def read_metrics(self) -> list[Row]:
        """Return the rows of metrics.jsonl; damaged lines are left out, with a warning."""
        return read_rows(self.metrics)

    def size_mb(self) -> float:
        """Return the size of the folder's files (1e6 bytes)."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file()) / 1e6

    def remove_temporary_files(self) -> None:
        """Remove what a killed owner was writing; only the folder's owner may."""
        for file in [*self.path.glob(".*.tmp"), *self.checkpoints.glob(".*.tmp")]:
            file.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Rename the folder to ...-old-<n>, which nothing finds or deletes; return its path."""
        number = 1
        while (old := self.path.with_name(f"{self.path.name}-old-{number}")).exists():
            number += 1
        self.path.rename(old)
        return old
