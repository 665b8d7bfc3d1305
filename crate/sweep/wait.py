"""Waits for Slurm's jobs, on behalf of a sweeper that needs their results."""

from __future__ import annotations

import logging
import sys

from crate.sweep.state import ACTIVE
from crate.sweep.watch import Watch

logger = logging.getLogger("crate")


def wait(swept: dict[str, dict], outputs: str, name: str) -> None:
    """Returns once no run is at work any more; Ctrl-C leaves the jobs alone, and says which."""
    with Watch(swept, outputs) as watch:
        try:
            watch.follow()
            return
        except KeyboardInterrupt:
            pass
    active = [state for state in watch.states.values() if state.state in ACTIVE]
    jobs = [state.status.job for state in active if state.status.job]
    logger.info("%d runs go on, as the jobs %s", len(active), " ".join(jobs))
    logger.info("  python -m crate.sweep status %s --watch", name)
    logger.info("  python -m crate.sweep cancel %s", name)
    sys.exit(130)
