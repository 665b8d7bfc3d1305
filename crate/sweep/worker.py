"""A slot of the local launcher: runs one point after another, and keeps what it imported.

It is started in a snapshot. Signatures come in by standard input, a line each, and answers go out
by standard output: the signature and the run's exit code.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from pathlib import Path

from crate.sweep.folder import SweepFolder
from crate.sweep.job import Job


def main(sweep: Path) -> None:
    """Runs what it is told to until there is no more, or a signal came."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the pool tells; its terminal is none of ours
    answers = os.fdopen(os.dup(1), "w")
    job, jobs = Job(sweep), SweepFolder(sweep).jobs
    try:
        for line in sys.stdin:
            signature = line.strip()
            code = _run(job, signature, jobs / f"{signature}.out")
            answers.write(f"{signature} {code}\n")
            answers.flush()
            _forget()
    except KeyboardInterrupt:
        sys.exit(130)


def _run(job: Job, signature: str, said: Path) -> int:
    """Runs a point, with all that it prints going to a file; returns its exit code."""
    with open(said, "ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    folder = os.getcwd()
    try:
        job(signature)
        return 0
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the run had begun to listen
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(folder)


def _forget() -> None:
    """Frees what the last run held."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
