"""Signals: what a run does at its next step boundary.

| signal | on a laptop | in a Slurm job |
|---|---|---|
| SIGINT (Ctrl-C) | save, exit 130; a second one leaves at once | the same |
| SIGTERM | save, exit 143 | save, go on until killed: the grace time is still work |
| SIGHUP (terminal closed) | save, exit 129 | the same |
| SIGUSR2, under a launcher | save, and go back to the queue | the same |

After its last step a run cannot be stopped: it draws its curve, is marked finished and exits 0.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple, NoReturn

from crate.ranks import Ranks

Handler = Callable[[int, FrameType | None], object] | int | None  # as `signal.signal` takes it
_EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGUSR2: 140}
REQUEUE = _EXIT[signal.SIGUSR2]
# A terminal sends Ctrl-C to torchrun and its processes, and torchrun sends it to them once more.
_ECHO_S = 2.0 if "TORCHELASTIC_RUN_ID" in os.environ else 0.0


class Agreement(NamedTuple):
    """What all ranks do at a step boundary: stop, save, or leave without writing anything."""

    stops: bool
    saves: bool
    is_lost: bool


class Signals:
    """Flags that signals set and the loop reads between two steps.

    `exit_code` belongs to the signal that asked for a stop, otherwise it is None. `save` asks for a
    checkpoint without a stop, since the time `sigterm_at`. `lost` means that the run's folder was
    removed or taken over by another process. `is_finishing` means that the last step is made,
    `is_finished` that the run is marked finished; nothing stops the run then. SIGUSR2 counts only
    if a launcher handles it: that handler puts the job back in the queue.

    Enter it before anything is written to the run's folder, and leave it after the last write. With
    `ends_process` the process ends with the run, and later signals are ignored: while the
    interpreter exits, a signal would change the exit code of a finished run.
    """

    def __init__(self, *, ends_process: bool = False) -> None:
        self.ends_process = ends_process
        self.exit_code: int | None = None
        self.save = self.lost = self.is_finishing = self.is_finished = False
        self.sigterm_at: float | None = None
        self._interrupted_at: float | None = None
        self._awaits_interrupt = False
        self._previous: dict[int, Handler] = {}

    def __enter__(self) -> Signals:
        for number in _EXIT:
            known = signal.getsignal(number)
            listens = number != signal.SIGUSR2 or callable(known)
            if listens and known != signal.SIG_IGN:  # nohup ignores SIGHUP, and the run then too
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.ends_process:
            return ignore_from_now_on()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def lose(self) -> None:
        """Ask for a stop that writes nothing."""
        self.lost = True

    def cancel(self) -> None:
        """Ask for a stop as Ctrl-C does; the SIGINT that `cancel` sends too is not a second one."""
        if self.exit_code is None:
            self.exit_code, self._awaits_interrupt = _EXIT[signal.SIGINT], True

    @property
    def wants_stop(self) -> bool:
        """Whether the run is to stop at the next step boundary."""
        return self.lost or self.exit_code is not None

    def agree(self, ranks: Ranks, due: bool) -> Agreement:
        """Return what all ranks do at this step boundary; `due` asks for a checkpoint.

        Every rank has to call this at the same step.
        """
        code, saves, is_lost = ranks.maximum(self.exit_code or 0, self.save or due, self.lost)
        if code:  # never reset: a signal may have come since
            self.exit_code = code
        if is_lost:
            self.lost = True
        if saves:  # before saving: another signal may come meanwhile
            self.save = False
        return Agreement(bool(code), bool(saves), bool(is_lost))

    @property
    def reason(self) -> str:
        """The signal that asked for the stop, in words."""
        names = [number.name for number, code in _EXIT.items() if code == self.exit_code]
        return f"{names[0]}, exit {self.exit_code}"

    @property
    def how_to_go_on(self) -> str:
        """What continues the run, in words."""
        if self.exit_code == REQUEUE:
            return "the job goes back to the queue and goes on from there"
        return "the same command goes on from there"

    def leave(self, ranks: Ranks) -> NoReturn:
        """End this process as its signal asks: with an exit code, or back in the queue.

        Of several ranks the first puts the job back, once all ranks are here. Raise the launcher's
        error if the job may not come back.
        """
        if self.exit_code != REQUEUE:
            sys.exit(self.exit_code or 1)
        ranks.gather(None)
        if ranks.is_first:
            requeue = self._previous[signal.SIGUSR2]
            assert callable(requeue)  # __enter__ keeps no other
            requeue(signal.SIGUSR2, None)
        os._exit(0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupt()
        if number == signal.SIGTERM and "SLURM_JOB_ID" in os.environ:
            self.save, self.sigterm_at = True, time.time()
            return
        self.exit_code = _EXIT[signal.Signals(number)]

    def _interrupt(self) -> None:
        """Say what Ctrl-C does; the second one leaves at once."""
        asked_before = self.exit_code is not None and not self.is_finishing
        asked_before, self._awaits_interrupt = asked_before and not self._awaits_interrupt, False
        if self._interrupted_at is None and not asked_before:
            doing = "finishing" if self.is_finishing else "saving after this step"
            os.write(2, f"\n{doing}; Ctrl-C again leaves at once\n".encode())
            self._interrupted_at = time.monotonic()
        elif time.monotonic() - (self._interrupted_at or 0.0) >= _ECHO_S:
            kept = "the run is finished" if self.is_finished else "the last checkpoint is kept"
            os.write(2, f"\nleft at once; {kept}\n".encode())
            os._exit(0 if self.is_finished else _EXIT[signal.SIGINT])


def ignore_from_now_on() -> None:
    """Ignore the signals that stop a run, in a process that has only to exit.

    A handler in Python would not suffice: the interpreter removes it while it exits.
    """
    for number in _EXIT:
        signal.signal(number, signal.SIG_IGN)
