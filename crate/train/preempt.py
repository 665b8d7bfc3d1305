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
from types import FrameType
from typing import Any

_EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Signals:
    """Turns signals into flags that the loop reads between two steps.

    `exit_code` is that of the signal that asked for a stop, else None; `save` asks for a
    checkpoint alone.
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.save = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in _EXIT:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP: so do we
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.exit_code is not None:
            os.write(2, b"\nleft at once; the last checkpoint stands\n")
            os._exit(_EXIT[signal.SIGINT])
        if number == signal.SIGTERM and "SLURM_JOB_ID" in os.environ:
            self.save = True
            return
        self.exit_code = _EXIT[signal.Signals(number)]
        if number == signal.SIGINT:
            os.write(2, b"\nsaving after this step; Ctrl-C again leaves at once\n")
