"""Hand frozen points to Slurm, as job arrays, through submitit."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from crate.errors import UserError
from crate.sweep.launchers.exit_mark import mark_lines
from crate.sweep.options import Slurm, SlurmOptions
from crate.sweep.stored.folder import SweepFolder

JOB = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
_SHARED = (  # submitit's names for every cluster; all others are only for Slurm
    "name",
    "timeout_min",
    "mem_gb",
    "nodes",
    "cpus_per_task",
    "gpus_per_node",
    "tasks_per_node",
    "stderr_to_stdout",
)


def submit_arrays(
    sweep: SweepFolder, signatures: list[str], options: Slurm, code: Path
) -> Iterator[dict[str, str]]:
    """Submit points in arrays as long as the site allows; yield the jobs of each by signature.

    The jobs run the snapshot `code`. Raise UserError with the message of sbatch if it refuses.
    """
    from submitit import AutoExecutor
    from submitit.core.utils import FailedJobError

    from crate.sweep.job import Job  # imports what a run needs

    given = {entry.name: getattr(options, entry.name) for entry in fields(SlurmOptions)}
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", given.pop("name") or sweep.path.name)
    timeouts = given.pop("max_num_timeout")
    given["cpus_per_task"] = cpus = options.cpus_per_task or options.threads
    given["setup"] = [*mark_lines(sweep.jobs, JOB), *given["setup"], *_setup(cpus, code)]
    given["srun_args"] = ["--kill-on-bad-exit=1", *given["srun_args"]]
    parameters = {
        key if key in _SHARED else f"slurm_{key}": value
        for key, value in (given | {"name": name}).items()
        if value is not None
    }
    size = max_array_size() or 1
    with _outside_of_jobs(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # submitit's advice on GPUs uses its own names
        executor = AutoExecutor(
            sweep.jobs,
            cluster="slurm",
            slurm_max_num_timeout=timeouts,
            slurm_python=_python(code),
        )
        executor.update_parameters(**parameters)
        for start in range(0, len(signatures), size):
            chunk = signatures[start : start + size]
            try:
                jobs = executor.map_array(Job(sweep.path), chunk)
            except (FailedJobError, subprocess.CalledProcessError) as error:
                errors = [line.strip() for line in str(error).splitlines() if "error:" in line]
                reason = "; ".join(errors) or str(error).strip().splitlines()[-1]
                raise UserError(
                    f"Slurm refuses the jobs: {reason}",
                    "what the site offers; see sinfo",
                    "hydra.launcher.{partition,account,qos,timeout_min,...}=VALUE",
                ) from error
            yield dict(zip(chunk, (job.job_id for job in jobs), strict=True))


def _python(code: Path) -> str:
    """Return the command that starts the Python of a job which runs the snapshot `code`."""
    python, holder = shlex.quote(sys.executable), code / "crate" / "sweep" / "hold_signals.py"
    if not holder.is_file():  # a snapshot of an earlier version, whose job would never unblock
        return python
    return f"{python} -IS {shlex.quote(str(holder))}"


def _setup(cpus: int | None, code: Path) -> list[str]:
    """Return the shell lines that every job needs: its threads, and the code that it runs."""
    lines = []
    if cpus is not None:  # srun does not take it over since Slurm 22.05
        lines.append(f"export SRUN_CPUS_PER_TASK={cpus}")
        lines.append(f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{cpus}}}"')
    return [*lines, f"cd {shlex.quote(str(code))}"]


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide the variables of the job that this process is in, if any, from the jobs it submits."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    from submitit.helpers import clean_env

    conf = {key: os.environ[key] for key in ("SLURM_CONF",) if key in os.environ}
    with clean_env():
        os.environ.update(conf)
        yield


def max_array_size() -> int | None:
    """Return the length of the site's longest job array; None if Slurm does not answer."""
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return int(match[1]) if match else None
