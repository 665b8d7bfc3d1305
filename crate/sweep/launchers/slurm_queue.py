"""What Slurm says of jobs: squeue, and sacct where there is accounting. Imports no torch."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable

LIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "STOPPED")
NEVER = "N/A"  # the end time of a job that is to begin again
_TIMEOUT_S = 30


class SlurmQueue:
    """The states of `ids` (`123` or `123_4`), asked for once.

    `answers` is False where the controller did not: then nothing is known of any job.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        wanted = set(ids)
        self._states: dict[str, str] = {}
        self.answers = True
        if not wanted:
            return
        listed = _ask("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%e")
        self.answers = listed is not None
        self._read(listed or "", wanted)
        if unknown := wanted - self._states.keys():
            jobs = ",".join(sorted({each.partition("_")[0] for each in unknown}))
            accounted = _ask("sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", jobs)
            self._read(accounted or "", unknown)

    def _read(self, text: str, wanted: set[str]) -> None:
        for line in text.splitlines():
            job, state, end = [*line.split("|"), "", ""][:3]
            if job not in wanted or not state:
                continue
            state = state.split()[0]  # "CANCELLED by 1000"
            if state == "COMPLETING" and end == NEVER:
                state = "REQUEUED"  # it ends only to begin again
            self._states[job] = state

    def state(self, job: str) -> str | None:
        """Returns a job's state in Slurm's words; None where nothing remembers it."""
        return self._states.get(job)

    def is_live(self, job: str) -> bool:
        """Tells whether a job waits or runs; where Slurm does not answer it may."""
        return not self.answers or self._states.get(job) in LIVE


def _ask(*command: str) -> str | None:
    """Returns what a command of Slurm's prints, or None where it fails or is not there."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
