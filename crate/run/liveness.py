"""Whether a process that left a record still lives, judged without trusting any one clock.

On this machine, its pid and start time identify it. A process on another machine renews a file
every 15 seconds. The age of that file is measured against a file written now, so that both times
come from the same file server. On some file systems each machine stamps its own files; therefore a
process that is about to take over a folder first watches whether the file changes.
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

BEAT_S = 15.0  # seconds between two renewals
STALE_S = 300.0  # the process of a file that is older counts as dead
WATCH_S = 3 * BEAT_S
POLL_S = 0.2
_NAMES_A_PROCESS = ("host", "pid", "started", "namespace", "job", "restarts")
_CLOCK_S = 60.0  # seconds for which a comparison of two clocks is used

_clocks: dict[int, tuple[float, float]] = {}  # device -> (time of comparison, seconds ahead)
_silent: dict[Path, int] = {}  # watched file -> its time stamp, which did not change


@dataclass(kw_only=True)
class Owner(Record):
    """The identity of a process.

    `started` distinguishes processes that had the same pid, `namespace` containers, and `restarts`
    the starts of one Slurm job. `heartbeat` is in seconds since 1970 by the clock of its machine.
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
        """Whether the process is on this machine, in this container."""
        return self.host == socket.gethostname() and self.namespace in (None, _namespace())

    def is_same(self, other: Owner) -> bool:
        """Return whether two records name the same process; their heartbeats may differ."""
        return all(getattr(self, name) == getattr(other, name) for name in _NAMES_A_PROCESS)


def this_process() -> Owner:
    """Return the record of this process, with the present time as its heartbeat."""
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
    """Return whether a process may be alive, without waiting; `file` is the file that it renews."""
    if owner.is_here:
        return owner.started == _start_time(owner.pid)
    age = age_s(file)
    return age is not None and abs(age) < STALE_S and _silent.get(file) != _stamp(file)


def age_s(file: Path) -> float | None:
    """Return the seconds since a file was written; None if it is gone.

    The age is negative if a machine whose clock is ahead stamped the file.
    """
    try:
        state = file.stat()
    except OSError:
        return None
    return time.time() + _clock_ahead_s(file.parent, state.st_dev) - state.st_mtime


def watch(files: Iterable[Path]) -> list[Path]:
    """Wait for up to three heartbeats, and return those of `files` that are renewed.

    `is_alive` treats the processes of the others as dead until their files are renewed.
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
    """Return the seconds by which a folder's file server is ahead of this machine."""
    at, ahead = _clocks.get(device, (-_CLOCK_S, 0.0))
    if time.monotonic() - at > _CLOCK_S:
        file = folder / f".clock.{os.getpid()}.tmp"
        try:
            file.touch()
            ahead = file.stat().st_mtime - time.time()
            file.unlink()
        except OSError:  # a folder that this process may only read
            ahead = 0.0
        _clocks[device] = time.monotonic(), ahead
    return ahead


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    """Return the start time of a process on this machine; None if it is dead."""
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
