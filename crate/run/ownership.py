"""Ownership of a folder by one process, for run folders and for locks.

Owner n holds the file `owner-<n>.json`, created with O_EXCL, which is exclusive on NFS, too. A
process that finds the newest owner dead creates the file of the next number; of several that try at
once, one succeeds. The file of a released owner is marked as released and stays until the next
owner removes it. Numbers never decrease, so that a slow rival cannot take an old number for free.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from crate.errors import UserError
from crate.run import records
from crate.run.liveness import BEAT_S, STALE_S, Owner, age_s, is_alive, this_process, watch
from crate.run.records import Unreadable

logger = logging.getLogger("crate")

POLL_S = 0.2
UNKNOWN = "an unknown machine"


class Busy(UserError):
    """The owner of a folder is alive, or may be."""


class Ownership:
    """The right to write to a folder; a heartbeat keeps it until `release`."""

    def __init__(self, path: Path, number: int, record: Owner) -> None:
        self.path, self.number, self.record = path, number, record
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = self._lost = lambda: None

    @classmethod
    def take(cls, folder: Path) -> Ownership:
        """Take `folder`; raise Busy, which names the owner, if there is a live one.

        An owner on another machine that seems dead is first watched for three heartbeats.
        """
        while True:
            newest = max((number for number, _ in _owners(folder)), default=0)
            require_dead([folder])
            path = folder / f"owner-{newest + 1}.json"
            record = this_process()
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                continue  # a rival was faster: look again
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(json.dumps(record.to_json()))
            except OSError:  # a full disk; an empty file would count as a live owner
                path.unlink()
                raise
            owners = _owners(folder)
            if max(number for number, _ in owners) != newest + 1:
                path.unlink()
                continue  # the number had already been used and removed
            for number, old in owners:
                if number <= newest:
                    old.unlink(missing_ok=True)
            for left in folder.glob(".owner-*.tmp"):  # files of killed owners
                left.unlink(missing_ok=True)
            return cls(path, newest + 1, record)

    def keep_alive(self, beat: Callable[[], None], lost: Callable[[], None]) -> None:
        """Renew the heartbeat from a thread every 15 s, and call `beat` each time.

        If another process has taken the folder because this one slept too long, call `lost` and
        end the thread.
        """
        self._beat, self._lost = beat, lost
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                if not self.is_held():
                    return self._lost()
                records.write(self.path, replace(self.record, heartbeat=time.time()))
                self._beat()
            except (OSError, Unreadable):
                pass  # a full disk must not end the run; the next heartbeat may succeed

    def is_held(self) -> bool:
        """Return whether this process still owns the folder, and nobody took or replaced it."""
        numbers = [number for number, _ in _owners(self.path.parent)]
        if self.number not in numbers or max(numbers) != self.number:
            return False
        try:
            owner = records.read(Owner, self.path)
        except Unreadable:  # the next heartbeat decides, or writes it again
            return True
        return owner is not None and owner.is_same(self.record)

    def release(self) -> None:
        """End the heartbeat, and release the folder."""
        self._stop.set()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(BEAT_S)
        if self.is_held():
            with suppress(OSError, Unreadable):  # the end of this process releases it, too
                records.write(self.path, replace(self.record, released=True))


@contextmanager
def held(
    folder: Path, what: str, *, fix: str | None = None, patience_s: float = math.inf
) -> Iterator[Ownership]:
    """Hold `folder`, made if it is missing, as a lock; wait as long as another process holds it.

    `what` names the other process in the message "waiting for ...", which is logged once. Raise
    Busy after `patience_s` seconds, and UserError with `fix` if the folder cannot be written.
    """
    deadline, is_logged = time.monotonic() + patience_s, False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            owner = Ownership.take(folder)
            break
        except Busy as busy:
            if time.monotonic() > deadline:
                raise
            if not is_logged:
                logger.info("waiting for %s", what)
                logger.debug("%s", busy)
            is_logged = True
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
    """Return the numbers and files of a folder's owners; [] if the folder is gone."""
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    matches = [(re.fullmatch(r"owner-(\d+)\.json", path.name), path) for path in paths]
    return [(int(match[1]), path) for match, path in matches if match]


def owner_of(folder: Path) -> Owner | None:
    """Return the record of the process that owns `folder`; None if there is no live one."""
    file = _newest(folder)
    return None if file is None else _live(file)


def require_dead(folders: Iterable[Path]) -> None:
    """Raise Busy if one of the folders has a live owner.

    Owners on other machines are watched, all at the same time. `Ownership.take` then need not wait.
    """
    files = {file: folder for folder in folders if (file := _newest(folder)) is not None}
    for file, folder in files.items():
        if owner := _live(file):
            raise _busy(folder, file, owner)
    for file in watch([file for file in files if _may_be_renewed(file)]):
        if owner := _read(file):
            raise _busy(files[file], file, owner)


def _newest(folder: Path) -> Path | None:
    return max(_owners(folder), default=(0, None))[1]


def _read(file: Path) -> Owner | None:
    """Return the owner that a file names; None if there is none, or if it is gone."""
    try:
        owner = records.read(Owner, file)
    except Unreadable:  # its owner is writing it, or died while writing
        return Owner(host=UNKNOWN, pid=0, heartbeat=0)
    me = this_process()
    if owner is None or owner.released:
        return None
    if owner.job is not None and owner.job == me.job and owner.restarts != me.restarts:
        return None  # this process is the same job, requeued
    return owner


def _live(file: Path) -> Owner | None:
    """Return the record of an owner that may be alive, or None."""
    owner = _read(file)
    return owner if owner is not None and is_alive(owner, file) else None


def _may_be_renewed(file: Path) -> bool:
    """Return whether a file must be watched to find out that its owner is dead."""
    owner = _read(file)
    return owner is not None and not owner.is_here


def _busy(folder: Path, file: Path, owner: Owner) -> Busy:
    """Return the error for a folder that has a live owner."""
    age = max(0.0, age_s(file) or 0.0)
    who = f"process {owner.pid} on {owner.host}"
    if owner.host == UNKNOWN:
        who = f"a process that {file.name} does not name"
    given = f"{folder.name} is being run by {who} (heartbeat {age:.0f} s ago)"
    another = "seed=N or any other change for another run"
    if not owner.is_here:
        free = "one process a run; it is free 5 minutes after the last heartbeat"
        return Busy(given, free, another)
    if age < STALE_S:
        return Busy(given, "one process a run; it is free when that process ends", another)
    hung = f"{given}: the process exists, but hangs or is stopped"
    return Busy(hung, "the end of that process", f"kill {owner.pid}")
