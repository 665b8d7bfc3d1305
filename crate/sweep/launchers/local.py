"""The local launcher: a pool of slots on this machine, in the foreground or in the background."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from crate.errors import raise_all
from crate.run.machine import device_errors
from crate.run.ownership import owner_of
from crate.sweep.launchers.heartbeat import Heartbeat, beat, is_beating
from crate.sweep.launchers.launcher import JobState, Launcher, Phase, Request, Watcher
from crate.sweep.launchers.pool import Pool, give_back
from crate.sweep.launchers.shares import environments
from crate.sweep.launchers.slot import Slot
from crate.sweep.options import Local, PoolOptions

if TYPE_CHECKING:
    from crate.config.schema import Config

logger = logging.getLogger("crate")


class LocalLauncher(Launcher[Local]):
    """Runs points on this machine, as many at a time as fit.

    The name of a run's job is the path of its pool's heartbeat file.
    """

    name = "local"
    options_type = Local
    own_options = (PoolOptions,)
    runs_here = True

    def check(self, configs: Iterable[Config]) -> None:
        devices = dict.fromkeys(config.device for config in configs)
        raise_all([error for device in devices for error in device_errors(device)])

    def submit(self, request: Request) -> Iterator[dict[str, str]]:
        beat(request.pool)
        yield dict.fromkeys(request.todo, str(request.pool))

    def run(self, request: Request, watcher: Watcher) -> None:
        """Run the points in slots, and wait for the runs of others.

        Exit with the signal's code if one stops the pool, each run having saved.
        """
        outputs, todo = request.sweep.outputs, request.todo
        shares = environments(self.options, len(todo), on_cpu=request.on_cpu) if todo else []
        if shares:
            logger.info("%d at a time, %s threads each", len(shares), shares[0]["OMP_NUM_THREADS"])
        claim = {"CRATE_POOL": str(request.pool)}
        with watcher:
            slots = [Slot(request.sweep, share | claim) for share in shares]
            pool = Pool(outputs, slots, todo, watcher.update)
            with Heartbeat(request.pool) if todo else nullcontext():  # no claim outlasts the slots
                pool.run()
                if pool.stopped_by:
                    give_back(outputs, todo, "stopped", "its launch was stopped before it began")
            try:
                watcher.say_stopped() if pool.stopped_by else watcher.follow()
            except KeyboardInterrupt:
                logger.info("what others began goes on")
                sys.exit(130)
        if pool.stopped_by:
            sys.exit(128 + pool.stopped_by)

    @classmethod
    def states(cls, jobs: Iterable[str]) -> dict[str, JobState]:
        return {
            job: JobState(Phase.RESERVED if is_beating(Path(job)) else Phase.UNKNOWN)
            for job in dict.fromkeys(jobs)
        }

    @classmethod
    def cancel(cls, jobs: Mapping[Path, str]) -> None:
        """Send Ctrl-C to the runs of this machine; others find that they are cancelled in 15 s."""
        for run in jobs:
            owner = owner_of(run)
            if owner is not None and owner.job is None and owner.is_here:
                os.kill(owner.pid, signal.SIGINT)

    @classmethod
    def describe(cls, jobs: Iterable[str]) -> str:
        return ""
