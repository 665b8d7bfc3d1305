"""Signals: what to do at the next step boundary.

| signal | on a laptop | in a Slurm job |
|---|---|---|
| SIGINT (Ctrl-C) | save, exit 130; a second one leaves at once | the same |
| SIGTERM | save, exit 143 | save, go on until killed: the grace time is still work |
| SIGHUP (terminal closed) | save, exit 129 | the same |
| SIGUSR2, under a launcher | save, and go back to the queue | the same |
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from crate.train.distributed import Ranks

_EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGUSR2: 140}
REQUEUE = _EXIT[signal.SIGUSR2]
# A terminal sends Ctrl-C to torchrun and to its processes, and torchrun sends it on to them.
_ECHO_S = 2.0 if "TORCHELASTIC_RUN_ID" in os.environ else 0.0


class Signals:
    """Turns signals into flags that the loop reads between two steps.

    `exit_code` is that of the signal that asked for a stop, else None; `save` asks for a
    checkpoint alone, since `sigterm_at`; `lost` says that the run's folder is another process's by
    now. SIGUSR2 counts where a launcher listens to it: its handler puts the job back in the queue.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.save = self.lost = False
        self.sigterm_at: float | None = None
        self._interrupted_at = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in _EXIT:
            known = signal.getsignal(number)
            listens = number != signal.SIGUSR2 or callable(known)
            if listens and known != signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def lose(self) -> None:
        """Asks for a stop that writes nothing."""
        self.lost = True

    def cancel(self) -> None:
        """Asks for a stop as Ctrl-C does."""
        self.exit_code = self.exit_code or _EXIT[signal.SIGINT]

    @property
    def said(self) -> str:
        """Which signal asked for the stop, in words."""
        names = {code: number.name for number, code in _EXIT.items()}
        return f"{names[self.exit_code]}, exit {self.exit_code}"

    @property
    def how_to_go_on(self) -> str:
        if self.exit_code == REQUEUE:
            return "the job goes back to the queue, and goes on from there"
        return "the same command goes on from there"

    def leave(self, ranks: Ranks) -> NoReturn:
        """Ends this process as its signal asks: with its exit code, or back to the queue.

        Of several ranks the first puts the job back, once all are here. Raises what the launcher
        raises where the job may not come back.
        """
        if self.exit_code != REQUEUE:
            sys.exit(self.exit_code or 1)
        ranks.gather(None)
        if ranks.is_first:
            self._previous[signal.SIGUSR2](signal.SIGUSR2, None)
        os._exit(0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code is not None:
            if time.monotonic() - self._interrupted_at < _ECHO_S:
                return
            os.write(2, b"\nleft at once; the last checkpoint stands\n")
            os._exit(_EXIT[signal.SIGINT])
        if number == signal.SIGTERM and "SLURM_JOB_ID" in os.environ:
            self.save, self.sigterm_at = True, time.time()
            return
        self.exit_code = _EXIT[signal.Signals(number)]
        if number == signal.SIGINT:
            self._interrupted_at = time.monotonic()
            os.write(2, b"\nsaving after this step; Ctrl-C again leaves at once\n")
