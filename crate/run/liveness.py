"""Whether a process that left a record still lives, judged without trusting any one clock.

On this machine its pid and start time tell. Of a process elsewhere it is known only that it renews
a file every 15 seconds. The age of that file is measured against a file written now, so that both
times come from the same file server. Some file systems let each machine stamp its own files; so
whoever is about to take something over watches the file first, by no clock but its own.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crate.run.records import Record

logger = logging.getLogger("crate")

BEAT_S = 15.0  # between two renewals
STALE_S = 300.0  # a file that is older is its process's no more, as far as a look tells
WATCH_S = 3 * BEAT_S
POLL_S = 0.2
_NAMES_A_PROCESS = ("host", "pid", "started", "namespace", "job", "restarts")
_CLOCK_S = 60.0  # how long a comparison of two clocks holds

_clocks: dict[int, tuple[float, float]] = {}  # device -> (when, how far its clock is ahead)
_silent: dict[Path, int] = {}  # files that were watched -> the time stamp that did not change


@dataclass(kw_only=True)
class Owner(Record):
    """A process, told from every other.

    `started` tells a reused pid, `namespace` the pids of another container, `restarts` an earlier
    start of the same Slurm job. `heartbeat` is in seconds since 1970 by the clock of its machine.
    """

    version: int = 1
    host: str
    pid: int
    started: str | None = None
    namespace: str | None = None
    job: str | None = None
    restarts: str = "0"
    heartbeat: float
    released: bool = False

    @property
    def is_here(self) -> bool:
        """Whether its pid is one of this machine (and container)."""
        return self.host == socket.gethostname() and self.namespace in (None, _namespace())

    def is_same(self, other: Owner) -> bool:
        """Tell whether two records name the same process, whatever their heartbeats."""
        return all(getattr(self, name) == getattr(other, name) for name in _NAMES_A_PROCESS)


def this_process() -> Owner:
    """Return the record of this process, with a heartbeat of now."""
    return Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=_start_time(os.getpid()),
        namespace=_namespace(),
        job=os.environ.get("SLURM_JOB_ID"),
        restarts=os.environ.get("SLURM_RESTART_COUNT", "0"),
        heartbeat=time.time(),
    )


def is_alive(owner: Owner, file: Path) -> bool:
    """Tell whether a process may live, as far as a look tells; `file` is what it renews."""
    if owner.is_here:
        return owner.started == _start_time(owner.pid)
    age = age_s(file)
    return age is not None and abs(age) < STALE_S and _silent.get(file) != _stamp(file)


def age_s(file: Path) -> float | None:
    """Return the seconds since a file was written; None if it is gone.

    Negative if a machine whose clock is ahead stamped it.
    """
    try:
        state = file.stat()
    except OSError:
        return None
    return time.time() + _clock_ahead_s(file.parent, state.st_dev) - state.st_mtime


def watch(files: Iterable[Path]) -> list[Path]:
    """Return those of `files` that are renewed within three beats.

    For `is_alive`, the processes of the others are dead until their files are renewed.
    """
    stamps = {file: stamp for file in files if (stamp := _stamp(file)) is not None}
    stamps = {file: stamp for file, stamp in stamps.items() if _silent.get(file) != stamp}
    if not stamps:
        return []
    files = list(stamps)
    logger.info("watching for %.0f s whether %s is renewed", WATCH_S, ", ".join(map(str, stamps)))
    deadline = time.monotonic() + WATCH_S
    while stamps and time.monotonic() < deadline:
        time.sleep(POLL_S)
        stamps = {file: stamp for file, stamp in stamps.items() if _stamp(file) == stamp}
    _silent.update(stamps)
    return [file for file in files if file not in stamps and _stamp(file) is not None]


def _stamp(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _clock_ahead_s(folder: Path, device: int) -> float:
    """Return how far the clock that stamps files in `folder` is ahead of this machine's."""
    at, ahead = _clocks.get(device, (-_CLOCK_S, 0.0))
    if time.monotonic() - at > _CLOCK_S:
        file = folder / f".clock.{os.getpid()}.tmp"
        try:
            file.touch()
            ahead = file.stat().st_mtime - time.time()
            file.unlink()
        except OSError:  # a folder that we may only read
            ahead = 0.0
        _clocks[device] = time.monotonic(), ahead
    return ahead


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    """Return when a process of this machine started, which tells a reused pid; None: it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:  # a system without /proc
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return "alive"
