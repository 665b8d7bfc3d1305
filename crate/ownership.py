"""One process owns a live run folder, or holds a lock that others wait for.

Owner n holds the file `owner-<n>.json`, created with O_EXCL, which is exclusive on NFS too. Whoever
finds the newest owner gone creates the next number: of several that try at once, one succeeds.
A released owner's file stays, marked so, until the next owner removes it: numbers never go back,
so a slow rival cannot mistake an old number for a free one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from crate import records
from crate.config.errors import UserError
from crate.records import Damaged, Record

logger = logging.getLogger("crate")

BEAT_S = 15.0
STALE_S = 300.0
POLL_S = 0.2


class Busy(UserError):
    """A folder's owner is at work, or may be."""


@dataclass(kw_only=True)
class Owner(Record):
    """The process that owns a folder, told from every other.

    `started` tells a reused pid, `restarts` an earlier start of the same Slurm job. `heartbeat` is
    in seconds since 1970 by the clock of its machine.
    """

    version: int = 1
    host: str
    pid: int
    started: str | None = None
    job: str | None = None
    restarts: str = "0"
    heartbeat: float
    released: bool = False


class Ownership:
    """The right to write to a folder, kept alive by a heartbeat until `release`."""

    def __init__(self, path: Path, number: int, record: Owner) -> None:
        self.path, self.number, self.record = path, number, record
        self._stop = threading.Event()
        self._beat = self._lost = lambda: None

    @classmethod
    def take(cls, folder: Path) -> Ownership:
        """Takes `folder`, or raises Busy, which names its live owner."""
        while True:
            newest = max((number for number, _ in _owners(folder)), default=0)
            if owner := owner_of(folder):
                age = time.time() - owner.heartbeat
                raise Busy(
                    f"{folder.name} is being run by process {owner.pid or '?'} on "
                    f"{owner.host} (heartbeat {age:.0f} s ago)",
                    "one process a run; it is free 5 minutes after the last heartbeat",
                    "seed=N or any other change for another run",
                )
            path = folder / f"owner-{newest + 1}.json"
            record = this_process()
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                continue  # a rival was first; look again
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(json.dumps(record.to_json()))
            except OSError:  # a full disk; an empty file would pass for an owner at work
                path.unlink()
                raise
            owners = _owners(folder)
            if max(number for number, _ in owners) != newest + 1:
                path.unlink()
                continue  # we came so late that the number had been used and removed
            for number, old in owners:
                if number <= newest:
                    old.unlink(missing_ok=True)
            return cls(path, newest + 1, record)

    def keep_alive(self, beat: Callable[[], None], lost: Callable[[], None]) -> None:
        """Renews the heartbeat from a thread every 15 s, and calls `beat` with it.

        Calls `lost`, and ends, once another process has taken the folder: this one slept too long.
        """
        self._beat, self._lost = beat, lost
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                if not self.is_held():
                    return self._lost()
                records.write(self.path, replace(self.record, heartbeat=time.time()))
                self._beat()
            except OSError:
                pass  # a full disk must not end the run; the next beat may succeed

    def is_held(self) -> bool:
        """Tells whether the folder is still ours: no newer owner took it while we slept."""
        try:
            numbers = [number for number, _ in _owners(self.path.parent)]
        except FileNotFoundError:  # the folder was removed
            return False
        return self.number in numbers and max(numbers) == self.number

    def release(self) -> None:
        """Gives the folder back."""
        self._stop.set()
        if self.is_held():
            records.write(self.path, replace(self.record, released=True))


@contextmanager
def held(
    folder: Path, what: str, *, fix: str | None = None, patience_s: float = math.inf
) -> Iterator[Ownership]:
    """Holds `folder` as a lock, made if need be, while others wait for it as this waits for them.

    `what` says after "waiting for" what is waited for, once. Raises Busy after `patience_s`, and
    UserError with `fix` where the folder cannot be written.
    """
    deadline, is_said = time.monotonic() + patience_s, False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            owner = Ownership.take(folder)
            break
        except Busy as busy:
            if time.monotonic() > deadline:
                raise
            if not is_said:
                logger.info("waiting for %s", what)
                logger.debug("%s", busy)
            is_said = True
            time.sleep(POLL_S)
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}", "a writable folder", fix
            ) from error
    owner.keep_alive(beat=lambda: None, lost=lambda: None)
    try:
        yield owner
    finally:
        owner.release()


def _owners(folder: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"owner-(\d+)\.json", path.name), path) for path in folder.iterdir()]
    return [(int(match[1]), path) for match, path in found if match]


def _live(path: Path) -> Owner | None:
    """Return the record of an owner that may still be running, or None."""
    try:
        owner = records.read(Owner, path)
    except Damaged:  # its owner is writing it just now, or died doing so
        try:
            at = path.stat().st_mtime
        except FileNotFoundError:
            return None
        unknown = Owner(host="an unknown machine", pid=0, heartbeat=at)
        return unknown if time.time() - at < STALE_S else None
    me = this_process()
    if owner is None or owner.released or not is_alive(owner):
        return None
    if owner.job is not None and owner.job == me.job and owner.restarts != me.restarts:
        return None  # the job was requeued: it is us
    return owner


def owner_of(folder: Path) -> Owner | None:
    """Return the record of the process that may be running in `folder`, or None."""
    newest = max((number for number, _ in _owners(folder)), default=0)
    return _live(folder / f"owner-{newest}.json") if newest else None


def is_alive(owner: Owner) -> bool:
    """Tells whether the process of a record may live: by its pid here, elsewhere by its heartbeat.

    Here too a process that has not beaten for 5 minutes is given up.
    """
    if time.time() - owner.heartbeat > STALE_S:
        return False
    here = owner.host == socket.gethostname()
    return not here or owner.started == _start_time(owner.pid)


def this_process() -> Owner:
    """Return the record of this process, with a heartbeat of now."""
    return Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=_start_time(os.getpid()),
        job=os.environ.get("SLURM_JOB_ID"),
        restarts=os.environ.get("SLURM_RESTART_COUNT", "0"),
        heartbeat=time.time(),
    )


def _start_time(pid: int) -> str | None:
    """Returns when a process of this host started, which tells a reused pid; None: it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:  # a system without /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"
