"""Signals: what to do at the next step boundary.

| signal | on a laptop | in a Slurm job |
|---|---|---|
| SIGINT (Ctrl-C) | save, exit 130; a second one leaves at once | the same |
| SIGTERM | save, exit 143 | save, go on until killed: the grace time is still work |
| SIGHUP (terminal closed) | save, exit 129 | the same |
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any

_EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# A terminal sends Ctrl-C to torchrun and to its processes, and torchrun sends it on to them.
_ECHO_S = 2.0 if "TORCHELASTIC_RUN_ID" in os.environ else 0.0


class Signals:
    """Turns signals into flags that the loop reads between two steps.

    `exit_code` is that of the signal that asked for a stop, else None; `save` asks for a
    checkpoint alone; `lost` says that the run's folder is another process's by now.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.save = self.lost = False
        self._interrupted_at = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in _EXIT:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def lose(self) -> None:
        """Asks for a stop that writes nothing."""
        self.lost = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code is not None:
            if time.monotonic() - self._interrupted_at < _ECHO_S:
                return
            os.write(2, b"\nleft at once; the last checkpoint stands\n")
            os._exit(_EXIT[signal.SIGINT])
        if number == signal.SIGTERM and "SLURM_JOB_ID" in os.environ:
            self.save = True
            return
        self.exit_code = _EXIT[signal.Signals(number)]
        if number == signal.SIGINT:
            self._interrupted_at = time.monotonic()
            os.write(2, b"\nsaving after this step; Ctrl-C again leaves at once\n")
