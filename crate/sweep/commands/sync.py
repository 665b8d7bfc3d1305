"""`sync`: uploads to Weights & Biases what the runs of a sweep logged offline."""

from __future__ import annotations

import subprocess
import sys

from crate.errors import UserError
from crate.sweep.select import Selection
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.terminal.table import words
from crate.tracking.offline import offline_folders


def sync(sweep: SweepFolder, wanted: list[str]) -> int:
    """Uploads each run's offline folders, the oldest first; 1 where one could not be.

    A folder that was uploaded already is passed over by wandb's own mark. Raises UserError where
    there is nothing of wandb's.
    """
    selection = Selection(sweep, wanted)
    found = {
        key: offline_folders(path) for key, path in selection.paths.items() if path is not None
    }
    if not any(found.values()):
        raise UserError(
            f"no run of {sweep.path.name} logged to wandb offline",
            "runs of tracker=wandb",
            "python launch.py ... tracker=wandb",
        )
    failed = 0
    for key, folders in found.items():
        if selection.states[key].is_active:
            print(f"left for later, {selection.states[key].state}: {words(selection.swept[key])}")
            continue
        for folder in folders:
            # Without --include-online a run that fell back to offline is skipped in silence.
            command = [sys.executable, "-m", "wandb", "sync", "--include-online", str(folder)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL)
            failed += done.returncode != 0
    return int(failed > 0)
