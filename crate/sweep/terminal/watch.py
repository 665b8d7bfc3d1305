"""Follow runs until they have ended: a line for each, and a live table on a terminal."""

from __future__ import annotations

import logging
import time
from collections import Counter

from rich.live import Live

from crate.run.console import console
from crate.run.folder import runs_by_signature
from crate.sweep.define.swept import Values, as_words
from crate.sweep.state import RunState, look
from crate.sweep.terminal.table import duration, table

logger = logging.getLogger("crate")
POLL_S = 2.0


class Watch:
    """Follows runs below `outputs`; `swept` holds their swept values by signature."""

    def __init__(self, swept: dict[str, Values], outputs: str) -> None:
        self.swept, self.outputs = swept, outputs
        self.states: dict[str, RunState] = {}
        self._ended: set[str] = set()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Watch:
        self.look()  # runs that are finished already need no line
        self._ended |= {key for key, state in self.states.items() if state.state == "finished"}
        if console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def update(self) -> None:
        """Print a line for each run that has ended since the last call; redraw the live table."""
        self.look()
        pending = self._pending()
        if console.is_terminal:
            at_work = [key for key in pending if self.states[key].state in ("running", "stalled")]
            self._live.update(table({key: self.swept[key] for key in at_work}, self.states))
            self._live.refresh()
        for key in pending:
            if not self.states[key].is_active:
                self._ended.add(key)
                self._say_end(key)

    def look(self) -> dict[str, RunState]:
        """Return the states of all runs, renewed for those that have not ended yet."""
        folders = runs_by_signature(self.outputs)
        self.states |= look({key: folders.get(key) for key in self._pending()})
        return self.states

    def _pending(self) -> list[str]:
        """Return the signatures of the runs that have not ended yet."""
        return [key for key in self.swept if key not in self._ended]

    def say_stopped(self) -> None:
        """Print one line with the counts of states after a launch was stopped."""
        numbers = Counter(map(_how_far, self.look().values()))
        order = sorted(numbers.items(), key=lambda entry: entry[0] != "finished")
        counts = ", ".join(f"{number} {name}" for name, number in order)
        logger.info("stopped: %s; the same command goes on where the runs were", counts)

    def follow(self) -> None:
        """Return once all runs have ended."""
        self.update()
        while not self.has_ended:
            time.sleep(POLL_S)
            self.update()

    @property
    def has_ended(self) -> bool:
        """Whether all runs have ended."""
        return len(self._ended) == len(self.swept)

    def _say_end(self, key: str) -> None:
        state, count = self.states[key], f"{len(self._ended)}/{len(self.swept)}"
        status = state.status
        if state.state == "finished":
            last, best = map(status.compared_by.text, (status.last, status.best))
            result = f"{status.objective} last {last}, best {best}, {duration(status.time_s)}"
            logger.info("%s  %s  %s  %s", count, state.state, as_words(self.swept[key]), result)
        else:
            reason = (state.reason or "").partition("\n")[0]
            logger.error("%s  %s  %s  %s", count, state.state, as_words(self.swept[key]), reason)


def _how_far(state: RunState) -> str:
    """Return a run's state; one that was stopped is either `saved` or `not begun`."""
    if state.state != "stopped":
        return state.state
    return "saved" if state.status.attempts else "not begun"
