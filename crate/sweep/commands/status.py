"""`status`: the state of each run of a sweep, once or until all have ended."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from rich.live import Live

from crate.config.schema.objective import Objective
from crate.run.console import console
from crate.run.status import Status
from crate.sweep.commands.arguments import add_runs, selection_of
from crate.sweep.define.swept import as_words
from crate.sweep.select import Selection
from crate.sweep.state import UNFINISHED
from crate.sweep.terminal.table import counts, say, table

HELP = "show the state of each run"
POLL_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)
    parser.add_argument("--watch", action="store_true", help="refresh until all runs have ended")
    parser.add_argument("--json", action="store_true", help="print JSON for programs, and once")


def run(arguments: argparse.Namespace) -> int:
    """Print the state of each run; return 1 if one has ended without finishing."""
    selection = selection_of(arguments)
    if arguments.json:
        print(json.dumps(_to_json(selection), indent=2))
        return int(bool(selection.in_states(*UNFINISHED)))
    if not arguments.watch:
        console.print(table(selection.swept, selection.states))
    elif console.is_terminal:
        selection = _watch_live(arguments, selection)
    else:
        selection = _watch_lines(arguments, selection)
    say(f"{selection.sweep.path.name}: {counts(selection.states)}")
    _print_traceback(selection)
    return int(bool(selection.in_states(*UNFINISHED)))


def _watch_live(arguments: argparse.Namespace, selection: Selection) -> Selection:
    """Redraw the table on the terminal until all runs have ended; return them as they ended."""
    with Live(table(selection.swept, selection.states), console=console) as live:
        while selection.is_active:
            time.sleep(POLL_S)
            selection = selection_of(arguments)
            live.update(table(selection.swept, selection.states))
    return selection


def _watch_lines(arguments: argparse.Namespace, selection: Selection) -> Selection:
    """Print the counts until all runs have ended, then the table; return the runs."""
    while selection.is_active:
        print(counts(selection.states), flush=True)
        time.sleep(POLL_S)
        selection = selection_of(arguments)
    console.print(table(selection.swept, selection.states))
    return selection


def _to_json(selection: Selection) -> dict[str, dict[str, Any]]:
    """Return the states as JSON values, by signature."""
    return {
        key: {
            "state": state.state,
            "reason": state.reason,
            "swept": selection.swept[key],
            "folder": str(state.path) if state.path else None,
            "status": state.status.to_json() | _old_names(state.status),
        }
        for key, state in selection.states.items()
    }


def _old_names(status: Status) -> dict[str, float]:
    """Return the accuracies under the names that earlier versions printed, for old programs."""
    values = {"last_top1": status.last, "best_top1": status.best}
    is_accuracy = status.compared_by == Objective()
    return {name: value for name, value in values.items() if is_accuracy and value is not None}


def _print_traceback(selection: Selection) -> None:
    """Print the traceback of a single run; of several runs, the command that shows the first."""
    unfinished = selection.in_states(*UNFINISHED)
    failed = [key for key in unfinished if selection.states[key].status.traceback]
    if len(selection.swept) == 1 and failed:
        print(selection.states[failed[0]].status.traceback)
    elif failed:
        name, first = selection.sweep.path.name, as_words(selection.swept[failed[0]])
        print(f"tracebacks: python -m crate.sweep status {name} {first}")
