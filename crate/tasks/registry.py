"""The table of tasks.

A task is a module with a function `run(request)`. To add one to this package, write the module, its
row in `TASKS`, and `conf/task/NAME.yaml`. A task from outside is named by its module,
`task=package.module`, or by a file `task/NAME.yaml` in `--config-dir=FOLDER`, which says
`task: package.module`. The module lies in that folder or is installed. Imports no torch.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, cast

from hydra.core.config_store import ConfigStore

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
    return cast(Task, module)


def is_module(name: str) -> bool:
    """Return whether a task's name is that of a user's module: it has a dot, or can be imported."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or name == "__main__":
        return False
    return len(parts) > 1 or (name not in sys.stdlib_module_names and find_spec(name) is not None)


def register(arguments: list[str]) -> None:
    """Make each module that is typed as `task=MODULE` an option of the group `task`."""
    for text in arguments:
        match = re.fullmatch(r"\+{0,2}task=([\w.]+)", text)
        if match and match[1] not in TASKS and is_module(match[1]):
            node = {"task": match[1]}
            ConfigStore.instance().store(match[1], node, group="task", package="_global_")


def _unknown(name: str) -> UserError:
    guess = close(name, TASKS)
    return UserError(
        f"there is no task {name}" + (f"; did you mean task={guess[0]}?" if guess else ""),
        f"{shorten(nearest(name, TASKS))}, or {YOUR_OWN}",
        f"task={guess[0]}" if guess else "task=NAME",
    )
