"""Metrics in metrics.jsonl, which every run writes."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from crate.run.folder import RunFolder
from crate.tracking.base import Tracker

logger = logging.getLogger("crate")


def as_line(step: int, metrics: dict[str, float]) -> str:
    """Return the row of metrics.jsonl that holds the metrics of a step."""
    return json.dumps({"step": step, **metrics})


class Jsonl(Tracker):
    """Append the metrics of each call to metrics.jsonl as one line, without a buffer.

    Lines that a full disk refuses are written with the next line, so that the file has no gap.
    """

    def start(self, folder: RunFolder, signature: str, config: dict[str, Any]) -> None:
        self.file = open(folder.metrics, "ab", buffering=0)  # noqa: SIM115 (closed by finish)
        self.pending = b""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.pending += (as_line(step, metrics) + "\n").encode()
        end = self.file.seek(0, os.SEEK_END)
        try:
            if self.file.write(self.pending) == len(self.pending):
                self.pending = b""
                return
        except OSError as error:
            logger.warning("metrics.jsonl: %s; tried again with the next line", error.strerror)
        self.file.truncate(end)

    def finish(self, state: str) -> None:
        self.file.close()
