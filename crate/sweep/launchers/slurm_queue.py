"""The states of Slurm's jobs: by squeue, and by sacct if there is accounting. Imports no torch."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable

LIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "STOPPED")
NEVER = "N/A"  # the end time of a job that is to begin again
_TIMEOUT_S = 30


class SlurmQueue:
    """The states of the jobs `ids` (`123` or `123_4`), queried once.

    If `answers` is False, the controller did not answer, and nothing is known of any job.
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
        """Return a job's state in Slurm's words; None if Slurm does not know the job any more."""
        return self._states.get(job)

    def is_live(self, job: str) -> bool:
        """Return whether a job waits or runs; True if Slurm does not answer, since it may."""
        return not self.answers or self._states.get(job) in LIVE


def _ask(*command: str) -> str | None:
    """Return the output of a command of Slurm; None if it fails or is not installed."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
