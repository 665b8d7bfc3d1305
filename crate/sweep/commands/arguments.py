"""Arguments that commands share: where the sweeps are, which sweep, which of its runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.sweep.select import Selection
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.outputs import find_sweep


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add `--outputs`: the folder of sweeps and runs, made absolute."""
    parser.add_argument(
        "--outputs",
        type=_absolute,
        default=CHECKOUT / "outputs",
        metavar="FOLDER",
        help="folder of the sweeps and runs, as given to launch.py as outputs=FOLDER",
    )


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the name of a sweep, and where it is."""
    add_outputs(parser)
    parser.add_argument("sweep", metavar="NAME", nargs="?", help="name of a sweep or of its folder")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the name of a sweep, and words that select some of its runs."""
    add_sweep(parser)
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="KEY=VALUE, or the start of a signature"
    )


def sweep_of(arguments: argparse.Namespace) -> SweepFolder:
    """Return the sweep of a command line; raise UserError if there is none of that name."""
    if arguments.sweep is None:
        raise UserError(
            f"{arguments.command} needs the name of a sweep",
            "a name that `python -m crate.sweep list` shows",
            f"python -m crate.sweep {arguments.command} NAME",
        )
    return find_sweep(arguments.outputs, arguments.sweep)


def selection_of(arguments: argparse.Namespace) -> Selection:
    """Return the runs of a command line; raise UserError if a word selects none."""
    return Selection(sweep_of(arguments), arguments.runs)


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()
