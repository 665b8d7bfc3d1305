"""Messages of a run: a live progress bar on a terminal, plain lines elsewhere, and a log file."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crate.run.secrets import redact

logger = logging.getLogger("crate")
WIDE = 200  # columns of a table that goes to a file or a pipe
console = Console(
    soft_wrap=True,
    highlight=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE,
)


class _Formatter(logging.Formatter):
    """A formatter that removes secrets from messages."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _ConsoleHandler(logging.Handler):
    """A handler that prints through rich, which keeps lines above the live bar."""

    def emit(self, record: logging.LogRecord) -> None:
        style = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "")
        console.print(self.format(record), style=style, markup=False)


class _LogFile(logging.FileHandler):
    """A log file that ignores a full disk; logging would print a traceback for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def say_on_console(speaks: bool) -> None:
    """Send the messages of the package to the console; only one of several ranks `speaks`."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not speaks:
        logger.addHandler(logging.NullHandler())
    elif not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        handler = _ConsoleHandler()
        handler.setFormatter(_Formatter())
        logger.addHandler(handler)


def say_in_file(path: Path) -> logging.Handler:
    """Send the messages to a file, too; return the handler, which the caller has to remove."""
    handler = _LogFile(path)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    return handler


class Bar:
    """A progress bar over steps; it prints nothing without a terminal."""

    def __init__(self, step: int, total_steps: int) -> None:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self.is_seen = console.is_terminal
        self._progress = Progress(*columns, console=console, disable=not self.is_seen)
        self._task = self._progress.add_task("", total=total_steps, completed=step)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, step: int, text: str | None = None) -> None:
        """Move the bar to `step`, and show `text` beside it."""
        self._progress.update(self._task, completed=step, description=text)
