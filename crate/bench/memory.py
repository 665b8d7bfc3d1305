"""What reading a cache adds to the memory of several processes that share it."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from crate.errors import UserError


def memory_of_readers(cached: Any, processes: int) -> dict[str, float]:
    """Returns the memory (1e6 bytes) of all readers together before and after they read it all.

    It is their PSS, of which a page that n processes map counts 1/n in each.
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
    before = sum(pss_mb(reader.pid) for reader in readers)
    go.wait()  # they start once it is measured
    finished.wait()
    after = sum(pss_mb(reader.pid) for reader in readers)
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


def _read(cached: Any, ready: Any, go: Any, finished: Any) -> None:
    import signal

    cached[0][0].sum()
    ready.wait()
    go.wait()
    for index in range(len(cached)):
        cached[index][0].sum()
    finished.wait()
    signal.pause()


def pss_mb(pid: int) -> float:
    """Returns the proportional memory of a process (1e6 bytes); Linux alone tells it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except FileNotFoundError:
        raise UserError("this system has no /proc/PID/smaps_rollup", "Linux") from None
    found = next(line for line in lines if line.startswith("Pss:"))
    return int(found.split()[1]) * 1024 / 1e6
