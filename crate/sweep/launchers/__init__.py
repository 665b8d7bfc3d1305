"""Where the points of a sweep run: one module a launcher, each a subclass of `Launcher`."""

from __future__ import annotations

from crate.errors import UserError
from crate.sweep.launchers.launcher import AnyLauncher
from crate.sweep.launchers.local import LocalLauncher
from crate.sweep.launchers.slurm import SlurmLauncher

# By the name that a manifest records.
LAUNCHERS: dict[str, type[AnyLauncher]] = {"local": LocalLauncher, "slurm": SlurmLauncher}


def launcher_named(name: str) -> type[AnyLauncher]:
    """Return a launcher by its name; raise UserError if there is none, as in an older checkout."""
    if name not in LAUNCHERS:
        raise UserError(
            f"there is no launcher {name} in this checkout",
            ", ".join(LAUNCHERS),
            "the same command in the checkout that launched the sweep",
        )
    return LAUNCHERS[name]
