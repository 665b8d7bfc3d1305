"""The processes that prepare images."""

from __future__ import annotations

import signal

import torch

from crate.config.schema import Data
from crate.run import provenance


def num_workers(data: Data, local_size: int = 1) -> int:
    """Returns the loader processes of each of `local_size` ranks: as configured, or one a core."""
    if data.workers is not None:
        return data.workers
    return max(1, provenance.cores() // local_size)


def ignore_signals(worker: int) -> None:
    """Leaves signals to the main process, which a forked worker would else handle as well."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR2", "SIGCONT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
