"""The exit code of a job's script, noted by the script itself in the sweep's jobs/<job>.exit.

It shows how a job ended before its run began, after its launcher has forgotten the job.
"""

from __future__ import annotations

import shlex
from pathlib import Path


def mark_lines(jobs: Path, job: str) -> list[str]:
    """Return the shell lines by which a job notes that it began, and later its exit code.

    `job` is the job's name as a shell expression.
    """
    return [
        f"mark={shlex.quote(str(jobs))}/{job}.exit",
        ': > "$mark"',
        """trap 'echo $? > "$mark"' EXIT""",
        "trap 'exit 143' TERM",  # once the run has ended; bash alone would note 0
    ]


def exit_mark(outputs: Path, job: str) -> str | None:
    """Return the exit code that a job noted; "" if it was killed, None if it never ran."""
    if Path(job).name != job:  # the path of a heartbeat; pools note no exit code
        return None
    file = next(outputs.glob(f"sweeps/*/jobs/{job}.exit"), None)
    return None if file is None else file.read_text().strip()
