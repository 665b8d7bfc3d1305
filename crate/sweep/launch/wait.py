"""Waits for Slurm's jobs, on behalf of a sweeper that needs their results."""

from __future__ import annotations

import logging
import sys

from crate.sweep.launch.ending import say_commands
from crate.sweep.state import ACTIVE
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.terminal.watch import Watch

logger = logging.getLogger("crate")


def wait(sweep: SweepFolder, swept: dict[str, dict]) -> None:
    """Return once no run is at work any more; Ctrl-C leaves the jobs alone and names them."""
    with Watch(swept, str(sweep.outputs)) as watch:
        try:
            watch.follow()
            return
        except KeyboardInterrupt:
            pass
    active = [state for state in watch.states.values() if state.state in ACTIVE]
    known = [state.status.job for state in active if state.status.job]
    jobs = dict.fromkeys(job.partition("_")[0] for job in known)
    ended = len(watch.states) - len(active)
    where = (ended, len(active), ", ".join(jobs) or "those of other launches")
    logger.info("no longer waiting: %d ended, %d go on, as Slurm job %s", *where)
    say_commands(sweep, status="", cancel="")
    sys.exit(130)
