"""A slot of the local pool: one worker process that runs one point after another.

The worker leads a session. Ctrl-C therefore reaches only the pool, which passes it on to each
worker once, and the processes that a dead worker leaves behind can be killed with it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from crate.errors import UserError
from crate.sweep.stored.folder import SweepFolder

EXIT_S = 20.0  # how long a worker without a run may take to exit


class Slot:
    """One worker process and the signature of the run that it is at, if any."""

    def __init__(self, sweep: SweepFolder, environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "crate.sweep.worker", str(sweep.path)]
        self._environment, self._log = environment, sweep.jobs / "workers.out"
        self._code: Path | None = None
        self._deadline = float("inf")  # by which a worker that no longer answers has to exit
        self.process: subprocess.Popen[str] | None = None
        self.signature: str | None = None
        self.is_fresh = False  # whether the worker was started for the run that it is at

    @property
    def pipe(self) -> IO[str] | None:
        """The worker's answers; None if there will be no more."""
        answers = None if self.process is None else self.process.stdout
        return None if answers is None or answers.closed else answers

    def begin(self, signature: str, code: Path) -> None:
        """Hand a point to the worker; start one if none is alive in the snapshot `code`."""
        if self.process is not None and (self.process.poll() is not None or code != self._code):
            self.end()
        self._code, self.signature, self.is_fresh = code, signature, self.process is None
        if self.process is None:
            self.process = self._start(code)
        requests = self.process.stdin
        assert requests is not None
        with suppress(BrokenPipeError):  # the worker is dead, which `update` notices
            requests.write(f"{signature}\n")
            requests.flush()

    def _start(self, code: Path) -> subprocess.Popen[str]:
        self._deadline = float("inf")
        try:
            with open(self._log, "ab") as log:
                return subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    cwd=code,
                    env={**os.environ, **self._environment},
                    start_new_session=True,
                )
        except OSError as error:
            self.signature = None
            raise UserError(
                f"cannot start a worker in {code}: {error}",
                "the folders of the sweep and of its code, as the launch left them",
                "the same command, which goes on where the runs were",
            ) from error

    def update(self) -> int | None:
        """Free the slot if its run has ended; return its exit code, or that of a dead worker.

        The worker counts as dead when its process ends, not when its pipe closes: a process that it
        started, such as one of a data loader, may hold the pipe open.
        """
        assert self.process is not None
        if self.pipe and select.select([self.pipe], [], [], 0)[0]:
            if answer := self.pipe.readline():
                self.signature = None
                return int(answer.split()[1])
            self.pipe.close()  # the worker exits, or can no longer answer
            self._deadline = time.monotonic() + EXIT_S
        if self.process.poll() is None and time.monotonic() < self._deadline:
            return None
        self.signature = None
        return self._bury(self.process)

    def dismiss(self) -> None:
        """Ask the worker to exit, after the run that it is at."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(BrokenPipeError):  # bytes that a dead worker never read
                self.process.stdin.close()

    def interrupt(self) -> None:
        """Have the run save and end; the second time, end at once."""
        if self.process is not None and self.signature is not None:
            self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Wait until the worker exits; kill a worker without a run that takes too long."""
        if self.process is None:
            return
        self.dismiss()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(None if self.signature else EXIT_S)
        self._bury(self.process)

    def _bury(self, process: subprocess.Popen[str]) -> int:
        """Kill the worker and the processes that it started; return its exit code."""
        self.process = None
        with suppress(ProcessLookupError):  # the number is not reused while one lives
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        return process.wait()
