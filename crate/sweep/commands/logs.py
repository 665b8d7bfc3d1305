"""`logs`: everything that runs and their jobs logged."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from crate.sweep.commands.arguments import add_runs, selection_of
from crate.sweep.define.swept import as_words
from crate.sweep.select import Selection

HELP = "print the logs of runs and of their jobs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every log of each run; return 0."""
    selection = selection_of(arguments)
    for key in selection.swept:
        print_heading(selection, key)
        files = list(log_files(selection, key))
        for file in files:
            if len(files) > 1:
                print(f"--> {file}")
            print_end(file, None)
    return 0


def print_heading(selection: Selection, key: str) -> None:
    """Print the line above a run's logs."""
    print(f"==> {as_words(selection.swept[key])}  ({selection.states[key].state})")


def print_end(file: Path, lines: int | None) -> None:
    """Print the last `lines` lines of a file, or all (None)."""
    with open(file, errors="replace") as log:
        print("".join(deque(log, lines)), end="")


def log_files(selection: Selection, key: str) -> Iterator[Path]:
    """Yield the files that a run's output went to: its own log first, then those of its jobs."""
    path, jobs = selection.paths[key], selection.sweep.jobs
    if path is not None and (path / "log").exists():
        yield path / "log"
    for attempt in selection.manifest.points[key].attempts:
        if attempt.job_id is not None:
            yield from selection.sweep.job_logs(attempt.job_id.name)
    for name in (f"{key}.out", "workers.out"):
        if (jobs / name).exists() and (jobs / name).stat().st_size:
            yield jobs / name
