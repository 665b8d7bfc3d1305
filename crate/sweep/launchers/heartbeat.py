"""The file by which the process that runs a pool claims runs, and shows that it lives."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from crate.run import records
from crate.run.liveness import BEAT_S, Owner, is_alive, this_process
from crate.run.records import Unreadable


def new_file(folder: Path) -> Path:
    """Return the path of a heartbeat for a new pool of this process, in `folder`."""
    return folder / f"pool-{socket.gethostname()}-{os.getpid()}-{time.time():.0f}.json"


def is_beating(file: Path) -> bool:
    """Tell whether the process that a heartbeat file names lives; False if the file is gone."""
    owner = pool_process(file)
    return owner is not None and is_alive(owner, file)


def pool_process(file: Path) -> Owner | None:
    """Return the process that a heartbeat file names; None if it is gone or damaged."""
    try:
        return records.read(Owner, file)
    except Unreadable:
        return None


def beat(file: Path) -> None:
    """Write that this process lives, and has taken over what the file claims."""
    records.write(file, this_process())


class Heartbeat:
    """Renews a heartbeat file from a thread while entered, and removes it on leaving."""

    def __init__(self, path: Path) -> None:
        self.path, self._stop = path, threading.Event()

    def __enter__(self) -> Heartbeat:
        beat(self.path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(BEAT_S)  # it must not write the file again
        self.path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(OSError, Unreadable):  # the next one may succeed
                beat(self.path)
