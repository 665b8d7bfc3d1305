"""`tail`: the last lines that runs logged, and those that follow."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from crate.sweep.commands.arguments import add_runs, selection_of
from crate.sweep.commands.logs import log_files, print_end, print_heading

HELP = "print the last lines that runs logged"
POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)
    parser.add_argument("-n", type=_number, default=5, metavar="LINES", help="lines of a run (5)")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="print new lines as they come, until Ctrl-C"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the end of each run's first log; return 0."""
    selection = selection_of(arguments)
    logs: list[Path] = []
    for key in selection.swept:
        print_heading(selection, key)
        first = next(log_files(selection, key), None)
        if first is not None:
            print_end(first, arguments.n)
            logs.append(first)
    if arguments.follow:
        _follow(logs)
    return 0


def _number(text: str) -> int:
    """Return a typed number of lines; raise ArgumentTypeError if it is not a whole number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines, such as 5")
    return int(text)


def _follow(paths: list[Path]) -> None:
    """Print the lines that are added to logs, each after its run's name, until Ctrl-C."""
    with ExitStack() as opened:
        files = [opened.enter_context(open(path, errors="replace")) for path in paths]
        for file in files:
            file.seek(0, 2)
        while True:
            for path, file in zip(paths, files, strict=True):
                for line in file:
                    start = f"{path.parent.name[-12:]}  " if len(paths) > 1 else ""
                    print(f"{start}{line}", end="", flush=True)
            time.sleep(POLL_S)
