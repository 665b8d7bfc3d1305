"""`status.json` as the process that runs a folder writes it: whole, and in spite of a full disk."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from crate.run import records
from crate.run.records import Unreadable
from crate.run.secrets import redact
from crate.run.status import Status

logger = logging.getLogger("crate")


class StatusFile:
    """The status of one run; several threads of a process may share this object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._unwritten: dict[str, Any] = {}  # changes that a full disk refused
        self._written = Status()

    def read(self) -> Status:
        """Return the status, an empty one if there is no file; raise Unreadable if damaged."""
        return records.read(Status, self.path) or Status()

    def update(self, **values: Any) -> None:
        """Change some fields, without secrets in their texts, and renew the heartbeat.

        Changes that a full disk refuses are written with the next ones. If the file is damaged, the
        changes apply to the last status that this object wrote.
        """
        texts = {key: redact(values[key]) for key in ("reason", "traceback") if key in values}
        with self._lock:
            self._unwritten |= values | texts
            try:
                status = self.read()
            except Unreadable:
                status = self._written
            status = replace(status, **self._unwritten, heartbeat=time.time())
            try:
                records.write(self.path, status)
                self._unwritten, self._written = {}, status
            except (OSError, Unreadable) as error:
                logger.debug("status.json: %s", error)
