"""The memory that reading a shared cache adds to several processes."""

from __future__ import annotations

import os
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING

from crate.errors import UserError

if TYPE_CHECKING:
    from crate.data.cache.files import Cached


def memory_of_readers(cached: Cached, processes: int) -> dict[str, float]:
    """Return the memory of all readers together (1e6 bytes), before and after they read all of it.

    This is their PSS (proportional set size): a page that n processes map counts 1/n in each.
    """
    context = get_context("fork")
    ready, go, finished = (context.Barrier(processes + 1) for _ in range(3))
    readers = [
        context.Process(target=_read, args=(cached, ready, go, finished), daemon=True)
        for _ in range(processes)
    ]
    for reader in readers:
        reader.start()
    ready.wait()
    pids = [reader.pid for reader in readers if reader.pid is not None]
    before = sum(map(pss_mb, pids))
    go.wait()  # the readers start after this measurement
    finished.wait()
    after = sum(map(pss_mb, pids))
    for reader in readers:
        reader.terminate()
        reader.join()
    return {
        "processes": processes,
        "cache_mb": os.stat(cached.folder / "images.u8").st_size / 1e6,
        "pss_before_mb": before,
        "pss_after_mb": after,
        "added_a_process_mb": (after - before) / processes,
    }


def _read(cached: Cached, ready: Barrier, go: Barrier, finished: Barrier) -> None:
    """Read every image between `go` and `finished`, then wait to be ended."""
    import signal

    cached[0][0].sum()
    ready.wait()
    go.wait()
    for index in range(len(cached)):
        cached[index][0].sum()
    finished.wait()
    signal.pause()


def pss_mb(pid: int) -> float:
    """Return the PSS of a process (1e6 bytes); raise UserError on a system without it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except FileNotFoundError:
        raise UserError("this system has no /proc/PID/smaps_rollup", "Linux") from None
    pss = next(line for line in lines if line.startswith("Pss:"))
    return int(pss.split()[1]) * 1024 / 1e6
