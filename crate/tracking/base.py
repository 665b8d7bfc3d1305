"""The interface of trackers, and several of them as one."""

from __future__ import annotations

import logging
from typing import Any

from crate.run.folder import RunFolder

logger = logging.getLogger("crate")


class Tracker:
    """The base class of trackers; it ignores all metrics.

    `start` is called once before the first metrics, `log` for each row of metrics, and `finish`
    once at the end with the state of the run.
    """

    def start(self, folder: RunFolder, signature: str, config: dict[str, Any]) -> None:
        pass

    def log(self, step: int, metrics: dict[str, float]) -> None:
        pass

    def finish(self, state: str) -> None:
        pass


class Trackers(Tracker):
    """Several trackers as one; a tracker that raises an error is removed, with a warning."""

    def __init__(self, trackers: list[Tracker]) -> None:
        self.waiting = trackers
        self.trackers: list[Tracker] = []

    def start(self, folder: RunFolder, signature: str, config: dict[str, Any]) -> None:
        self.waiting, self.trackers = [], self.waiting
        self._each("start", folder, signature, config)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self._each("log", step, metrics)

    def finish(self, state: str) -> None:
        self._each("finish", state)

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in list(self.trackers):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                name = type(tracker).__name__
                logger.warning("tracker %s failed in %s and is left out: %s", name, method, error)
                self.trackers.remove(tracker)
