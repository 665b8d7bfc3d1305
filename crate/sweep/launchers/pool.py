"""The pool of the local launcher: slots that run points until none is left or a signal arrives."""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from crate.run.folder import RunFolder, runs_by_signature
from crate.run.ownership import owner_of
from crate.sweep.launchers.slot import Slot

POLL_S = 0.5
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Pool:
    """Runs points in slots until all have ended, or a signal asks for a stop."""

    def __init__(
        self, outputs: Path, slots: list[Slot], todo: dict[str, Path], tick: Callable[[], None]
    ) -> None:
        self._outputs, self._slots, self._todo, self._tick = outputs, slots, todo, tick
        self._waiting = deque(todo)
        self._signals, self._passed_on = 0, 0
        self.stopped_by = 0

    def run(self) -> None:
        """Return once no slot has anything to do; call `tick` twice a second."""
        handlers = {
            number: signal.signal(number, self._stop)
            for number in STOPS
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            while busy := self._fill():
                select.select([slot.pipe for slot in busy if slot.pipe], [], [], POLL_S)
                self._pass_on(busy)
                for slot in busy:
                    key = slot.signature
                    if key and (code := slot.update()) is not None:
                        self._note_end(key, code, slot)
                if not self.stopped_by:
                    self._tick()
        except Exception:
            for slot in self._slots:  # have the runs save: no signal would reach them any more
                slot.interrupt()
            give_back(self._outputs, self._waiting, "stopped", "its launch failed before it began")
            raise
        finally:
            for slot in self._slots:
                slot.dismiss()
            for slot in self._slots:
                slot.end()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _fill(self) -> list[Slot]:
        """Give each free slot a point; return the slots that have one."""
        for slot in self._slots:
            if slot.signature is None and self._waiting and not self.stopped_by:
                signature = self._waiting[0]
                slot.begin(signature, self._todo[signature])
                self._waiting.popleft()  # if it cannot begin, `run` gives it back with the others
        return [slot for slot in self._slots if slot.signature is not None]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; `run` passes it on, since a slot may be starting its worker just now."""
        if not self.stopped_by:
            os.write(2, b"\nsaving all runs after this step; again leaves at once\n")
        self.stopped_by = number
        self._signals += 1

    def _pass_on(self, busy: list[Slot]) -> None:
        """Have each run save and end; at a second signal, leave at once."""
        while self._passed_on < self._signals:
            self._passed_on += 1
            for slot in busy:
                slot.interrupt()

    def _note_end(self, key: str, code: int, slot: Slot) -> None:
        """If a run did not begin, record the reason, or queue it again for a fresh worker."""
        if not _queued(self._outputs, [key]):
            return
        if slot.process is None and not slot.is_fresh:  # the worker was ended between two runs
            self._waiting.appendleft(key)
            return
        number = -code if code < 0 else code - 128
        names = {each.value: each.name for each in signal.Signals}
        by_signal = names.get(number, f"signal {number}")
        how = by_signal if number in STOPS or code < 0 else f"exit code {code}"
        state = "stopped" if number in STOPS else "failed"
        reason = f"its worker ended before the run began ({how}); see its logs"
        give_back(self._outputs, [key], state, reason)


def give_back(outputs: Path, keys: Iterable[str], state: str, reason: str) -> None:
    """Mark the runs among `keys` that have not begun as ended in `state`."""
    for folder in _queued(outputs, keys):
        folder.update_status(state=state, reason=reason)


def _queued(outputs: Path, keys: Iterable[str]) -> list[RunFolder]:
    """Return the folders of the runs among `keys` that wait to begin, and that nobody runs."""
    paths = runs_by_signature(outputs)
    folders = [RunFolder(paths[key]) for key in keys if key in paths]
    return [
        folder
        for folder in folders
        if folder.status.state == "queued"
        and not folder.is_cancelled
        and owner_of(folder.path) is None
    ]
