"""The Slurm launcher: one job a point, in job arrays."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crate.errors import UserError
from crate.sweep.launchers.launcher import JobState, Launcher, Phase, Request
from crate.sweep.launchers.slurm_queue import LIVE, SlurmQueue
from crate.sweep.launchers.slurm_submit import max_array_size, submit_arrays
from crate.sweep.options import Slurm, SlurmOptions

if TYPE_CHECKING:
    from crate.config.schema import Config

# What a run ended by, if Slurm ended its job so and the run did not say anything itself.
ENDS = {
    "CANCELLED": ("cancelled", "cancelled in Slurm"),
    "TIMEOUT": ("timeout", "killed at the time limit"),
    "DEADLINE": ("timeout", "killed at its deadline"),
    "OUT_OF_MEMORY": ("out_of_memory", "killed for its memory"),
    "NODE_FAIL": ("dead", "its machine failed"),
    "BOOT_FAIL": ("dead", "its machine did not start"),
    "PREEMPTED": ("dead", "preempted, and not requeued"),
}


class SlurmLauncher(Launcher[Slurm]):
    """Submits points to Slurm, as job arrays; the name of a job is `123_4`."""

    name = "slurm"
    options_type = Slurm
    own_options = (SlurmOptions,)
    devices_key = "tasks_per_node"

    def check(self, configs: Iterable[Config]) -> None:
        """Raise UserError if there is no Slurm to submit to; a plan needs none."""
        if not self.options.plan and max_array_size() is None:
            raise UserError(
                "there is no Slurm here: scontrol does not answer",
                "a machine of a cluster that submits jobs, or the local launcher",
                "hydra/launcher=local",
            )

    @property
    def devices(self) -> int:
        return self.options.nodes * self.options.tasks_per_node

    @property
    def time_limit_h(self) -> float:
        return self.options.timeout_min / 60

    def submit(self, request: Request) -> Iterator[dict[str, str]]:
        for code in dict.fromkeys(request.todo.values()):
            signatures = [key for key in request.todo if request.todo[key] == code]
            yield from submit_arrays(request.sweep, signatures, self.options, code)

    @classmethod
    def states(cls, jobs: Iterable[str]) -> dict[str, JobState]:
        names = list(jobs)
        queue = SlurmQueue(names)
        return {name: _state(queue, name) for name in names}

    @classmethod
    def cancel(cls, jobs: Mapping[Path, str]) -> None:
        names = list(jobs.values())
        done = subprocess.run(["scancel", *names], capture_output=True, text=True)
        if done.returncode and _any_works_on(names):  # otherwise they had just ended
            raise UserError(f"scancel failed: {done.stderr.strip()}")

    @classmethod
    def describe(cls, jobs: Iterable[str]) -> str:
        """Return the numbers of the job arrays: `Slurm job 7, 8`."""
        return f"Slurm job {', '.join(dict.fromkeys(job.partition('_')[0] for job in jobs))}"


def _state(queue: SlurmQueue, job: str) -> JobState:
    if not queue.answers:
        return JobState(Phase.SILENT, silence="Slurm does not answer")
    word = queue.state(job)
    if word is None:
        return JobState(Phase.UNKNOWN)
    if word not in LIVE:
        return JobState(Phase.ENDED, word, ENDS.get(word))
    return JobState(Phase.WORKING if word in ("RUNNING", "COMPLETING") else Phase.WAITING, word)


def _any_works_on(jobs: list[str]) -> bool:
    queue = SlurmQueue(jobs)
    return any(queue.is_live(job) and queue.state(job) != "COMPLETING" for job in jobs)
