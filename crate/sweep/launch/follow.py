"""After the handover: run the points here, in the background, or wait for their jobs."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from crate.sweep.launch import background
from crate.sweep.launch.ending import say_commands
from crate.sweep.launchers.launcher import AnyLauncher, Request
from crate.sweep.terminal.watch import Watch

logger = logging.getLogger("crate")


def follow(launcher: AnyLauncher, request: Request, *, waits: bool) -> None:
    """Return once all runs of `request` have ended, or at once if nobody `waits` for them."""
    watch = Watch(request.swept, str(request.sweep.outputs))
    if launcher.runs_here and waits:
        launcher.run(request, watch)
    elif launcher.runs_here and request.todo:
        background.start(launcher, request)
    elif waits:
        _wait(launcher, request, watch)


def _wait(launcher: AnyLauncher, request: Request, watch: Watch) -> None:
    """Return once no run is at work any more; Ctrl-C leaves the jobs alone and names them."""
    with suppress(KeyboardInterrupt), watch:
        watch.follow()
        return
    states = watch.look()  # an interrupt may come before the first look
    active = [state for state in states.values() if state.is_active]
    claims = [state.status.claim for state in active]
    jobs = [claim.job_id for claim in claims if claim and claim.job_id]
    names = [job.name for job in jobs if job.launcher == launcher.name]
    where = f", as {launcher.describe(names)}" if names else ""
    ended = len(states) - len(active)
    logger.info("no longer waiting: %d ended, %d go on%s", ended, len(active), where)
    say_commands(request.sweep, status="", cancel="")
    sys.exit(130)
