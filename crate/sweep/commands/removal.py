"""Remove folders after asking, unless something changed while the user was asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from crate.errors import UserError
from crate.run.console import say_on_console
from crate.run.folder import remove
from crate.run.ownership import Ownership, require_dead
from crate.sweep.commands.confirm import confirms
from crate.sweep.stored.outputs import locked

Reasons = dict[Path, str]  # a folder to remove -> why


def remove_after_asking(outputs: Path, decide: Callable[[], Reasons], *, yes: bool) -> int:
    """List the folders that `decide` returns, ask, and remove them; return 0.

    Others may launch or run something meanwhile, so `decide` is called again under the lock after
    the answer. Raise UserError, and remove nothing, if it returns other folders than were listed.
    """
    say_on_console(True)
    listed = decide()
    if not listed:
        print("nothing to remove")
        return 0
    for path, reason in listed.items():
        print(f"{_size_mb(path):9.1f} MB  {path}  ({reason})")
    if not yes and not confirms(f"remove these {len(listed)} folders?"):
        print("nothing was removed")
        return 0
    with locked(outputs), ExitStack() as owned:
        if decide().keys() != listed.keys():
            raise UserError(
                "something was launched, run or removed since the folders were listed, "
                "so nothing was removed",
                "looking at the new list",
                "the same command again",
            )
        runs = [path for path in listed if path.parent.name == "runs"]
        require_dead(runs)
        for path in runs:  # a process that begins such a run just now is refused, or refuses us
            owned.callback(Ownership.take(path).release)
        for path in listed:
            remove(path) if path in runs else shutil.rmtree(path)
    print(f"removed {len(listed)} folders")
    return 0


def _size_mb(folder: Path) -> float:
    """Return the size of a folder's files on disk (1e6 bytes)."""
    sizes = (
        os.lstat(os.path.join(parent, name)).st_size
        for parent, _, names in os.walk(folder)
        for name in names
    )
    return sum(sizes) / 1e6
