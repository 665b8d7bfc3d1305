"""What a launch prints at its end: its results, its best run, and the next commands."""

from __future__ import annotations

from collections.abc import Iterable

from crate.paths import CHECKOUT
from crate.run.console import console
from crate.sweep.results import collect
from crate.sweep.select import Selection
from crate.sweep.state import UNFINISHED
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.terminal.results import draw_results
from crate.sweep.terminal.table import counts, say
from crate.tracking.offline import unsynced


def say_end(sweep: SweepFolder, keys: Iterable[str]) -> None:
    """Print the results of the runs `keys` of a sweep, and the commands to type next."""
    selection = Selection(sweep, [], keys)
    draw_results(collect(selection))
    failed = len(selection.in_states(*UNFINISHED))
    offline = sum(bool(path and unsynced(path)) for path in selection.paths.values())
    say(f"{sweep.path.name}: {counts(selection.states)}")
    say_commands(sweep, results="")
    if failed:
        say_commands(sweep, retry=f"{failed} to run again")
    if offline:
        say_commands(sweep, sync=f"{offline} logged to Weights & Biases offline")


def say_commands(sweep: SweepFolder, **commands: str) -> None:
    """Print commands on a sweep, each with its purpose."""
    for name, purpose in commands.items():
        console.print(f"  {command(sweep, name)}{f'  # {purpose}' * bool(purpose)}", markup=False)


def command(sweep: SweepFolder, words: str) -> str:
    """Return the command line of a command on a sweep."""
    elsewhere = sweep.outputs != CHECKOUT / "outputs"
    return f"python -m crate.sweep {words} {sweep.path.name}" + (
        f" --outputs {sweep.outputs}" if elsewhere else ""
    )
