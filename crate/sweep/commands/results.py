"""`results`: the last and best metric of each point, over its seeds."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable

from crate.sweep.commands.arguments import add_runs, selection_of
from crate.sweep.results import Results, collect
from crate.sweep.state import UNFINISHED
from crate.sweep.terminal.results import draw_results
from crate.sweep.terminal.table import counts, say

HELP = "compare the points: last and best metric, mean and standard error over seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)
    parser.set_defaults(form="table")
    for name in ("json", "csv"):
        parser.add_argument(
            f"--{name}", dest="form", action="store_const", const=name, help=f"print {name.upper()}"
        )


def run(arguments: argparse.Namespace) -> int:
    """Print the results; return 1 if a run has ended without finishing."""
    selection = selection_of(arguments)
    FORMS[arguments.form](collect(selection))
    if arguments.form == "table":
        say(f"{selection.sweep.path.name}: {counts(selection.states)}")
    return int(bool(selection.in_states(*UNFINISHED)))


def print_json(results: Results) -> None:
    """Print the results as a JSON list."""
    print(json.dumps(results.rows(), indent=2))


def print_csv(results: Results) -> None:
    """Print the results as CSV, with an empty cell for a missing value."""
    rows = results.rows()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


FORMS: dict[str, Callable[[Results], None]] = {
    "table": draw_results,
    "json": print_json,
    "csv": print_csv,
}
