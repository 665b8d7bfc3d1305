"""The worker of a local slot: runs one point after another, with everything imported once.

It starts in a snapshot. Signatures arrive on standard input, one a line, and answers leave on
standard output: the signature and the run's exit code.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import IO

from crate.sweep.job import Job
from crate.sweep.stored.folder import SweepFolder

TERMINATED = 128 + signal.SIGTERM


def main(sweep: Path) -> int:
    """Run the requested points; return the exit code once there are no more requests.

    SIGTERM ends the worker after its run has saved. A signal between two runs ends it at once: the
    signal may have interrupted an import, which could not be repeated in this process.
    """
    # The pool and `cancel` send Ctrl-C; a launch in the background of a script ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal is the pool's
    requests, answers = _private_pipes()
    job, jobs = Job(sweep), SweepFolder(sweep).jobs
    try:
        for line in requests:
            signature = line.strip()
            code = _run(job, signature, jobs / f"{signature}.out")
            answers.write(f"{signature} {code}\n")
            answers.flush()
            if code == TERMINATED:
                return code
            _forget()
    except KeyboardInterrupt:
        return 130
    return 0


def _private_pipes() -> tuple[IO[str], IO[str]]:
    """Return the two pipes to the pool, out of reach of a run that reads or prints."""
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers


def _run(job: Job, signature: str, log: Path) -> int:
    """Run a point with its output in the file `log`; return its exit code."""
    with open(log, "ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    folder = os.getcwd()
    try:
        job.run(signature, ends_process=False)
        return 0
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(folder)


def _forget() -> None:
    """Free the memory of the last run."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
