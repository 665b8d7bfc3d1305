"""`sync`: upload to Weights & Biases what the runs of a sweep logged offline."""

from __future__ import annotations

import argparse
import subprocess
import sys

from crate.errors import UserError
from crate.sweep.commands.arguments import add_runs, selection_of
from crate.sweep.define.swept import as_words
from crate.tracking.offline import offline_folders

HELP = "upload to Weights & Biases what runs logged offline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)


def run(arguments: argparse.Namespace) -> int:
    """Upload each run's offline folders, oldest first; return 1 if an upload fails.

    wandb skips folders that it has marked as uploaded. Raise UserError if no run logged offline.
    """
    selection = selection_of(arguments)
    paths = {key: path for key, path in selection.paths.items() if path is not None}
    folders = {key: offline_folders(path) for key, path in paths.items()}
    if not any(folders.values()):
        raise UserError(
            f"no run of {selection.sweep.path.name} logged to wandb offline",
            "runs of tracker=wandb",
            "python launch.py ... tracker=wandb",
        )
    failed = 0
    for key in folders:
        state = selection.states[key]
        if state.is_active:
            print(f"left for later, {state.state}: {as_words(selection.swept[key])}")
            continue
        for folder in folders[key]:
            # Without --include-online, wandb silently skips a run that lost its connection.
            command = [sys.executable, "-m", "wandb", "sync", "--include-online", str(folder)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL)
            failed += done.returncode != 0
    return int(failed > 0)
