"""The table of tasks.

A task is a module with a function `run(request)`. To add one to this package, write the module, its
row in `TASKS`, and `conf/task/NAME.yaml`. A task from outside is named by its module,
`task=package.module`, which `--config-dir=FOLDER` or an installation makes importable.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from crate.errors import UserError, close, nearest, shorten

if TYPE_CHECKING:
    from crate.tasks.request import Request

TASKS = {
    "train": "crate.tasks.train",
    "evaluate": "crate.tasks.evaluate",
    "export": "crate.tasks.export",
}
YOUR_OWN = "a module of your own with a function run(request)"


class Task(Protocol):
    """The module of a task."""

    def run(self, request: Request) -> float | None:
        """Do the task; return the number that a sweeper compares, if there is one.

        Raise UserError for what the user can correct.
        """


def find(name: str) -> Task:
    """Return the module of a task, which is a row of `TASKS` or the dotted name of a module.

    Raise UserError if there is no such task, or if its module cannot be imported.
    """
    if name not in TASKS and not is_module(name):
        raise _unknown(name)
    try:
        module = importlib.import_module(TASKS.get(name, name))
    except ImportError as error:
        raise UserError(
            f"task={name} cannot be imported: {error}",
            f"{YOUR_OWN}, in --config-dir or installed",
            f"--config-dir=FOLDER, the folder that holds {name.partition('.')[0]}",
        ) from error
    if not callable(getattr(module, "run", None)):
        raise UserError(f"task={name}: the module has no function run(request)", YOUR_OWN)
    return module


def is_module(name: str) -> bool:
    """Return whether a task's name can only be that of a module: it has a dot, or is importable."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    return len(parts) > 1 or find_spec(name) is not None


def _unknown(name: str) -> UserError:
    guess = close(name, TASKS)
    return UserError(
        f"there is no task {name}" + (f"; did you mean task={guess[0]}?" if guess else ""),
        f"{shorten(nearest(name, TASKS))}, or {YOUR_OWN}",
        f"task={guess[0]}" if guess else "task=NAME",
    )
