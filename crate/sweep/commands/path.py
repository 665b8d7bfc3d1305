"""`path`: the folder of a sweep, or those of some of its runs."""

from __future__ import annotations

import argparse

from crate.sweep.commands.arguments import add_runs, selection_of, sweep_of

HELP = "print the folder of the sweep, or the folders of RUN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the folders, one a line; return 1 if a run has no folder yet."""
    if not arguments.runs:
        print(sweep_of(arguments).path)
        return 0
    paths = selection_of(arguments).paths.values()
    for path in paths:
        if path is not None:
            print(path)
    return int(None in paths)
