"""What runs do, and what they said: `list`, `status`, `tail`, `logs`, `path`."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from rich.live import Live

from crate.run.console import console
from crate.sweep.select import Selection
from crate.sweep.state import UNFINISHED
from crate.sweep.stored.folder import SweepFolder, sweeps
from crate.sweep.stored.manifest import Manifest
from crate.sweep.terminal.columns import Column, fitted
from crate.sweep.terminal.table import counts, duration, say, table, words

WATCH_S = 2.0


def show_list(outputs: str) -> int:
    """Prints every sweep with the states of its runs."""
    found = sweeps(outputs)
    if not found:
        print(f"no sweep in {outputs} yet; type: python launch.py sweep=demo")
        return 0
    shown = [Selection(sweep, []) for sweep in found]
    manifests = [selection.manifest for selection in shown]
    columns = [
        Column("sweep", [selection.sweep.path.name for selection in shown], moves=False),
        Column("runs", [counts(selection.states) for selection in shown], moves=False),
        Column("launched", [_launched(each) for each in manifests], moves=False),
        Column("fixed", [" ".join(each.fixed) for each in manifests], drop=2, is_text=True),
        Column("question", [each.question or "" for each in manifests], drop=1, is_text=True),
    ]
    console.print(fitted(columns, console.width))
    return 0


def _launched(manifest: Manifest) -> str:
    """Return how long ago a sweep was launched last; `-` where its files do not tell."""
    if not manifest.launches:
        return "-"
    return f"{duration(time.time() - manifest.launches[-1].time)} ago"


def show_status(sweep: SweepFolder, wanted: list[str], *, watch: bool, as_json: bool) -> int:
    """Prints each run's state; 1 where one has ended without having finished."""
    selection = Selection(sweep, wanted)
    if as_json:
        print(json.dumps(_plain(selection), indent=2))
    elif watch and console.is_terminal:
        with Live(table(selection.swept, selection.states), console=console) as live:
            while any(state.is_active for state in selection.states.values()):
                time.sleep(WATCH_S)
                selection = Selection(sweep, wanted)
                live.update(table(selection.swept, selection.states))
    else:
        while watch and any(state.is_active for state in selection.states.values()):
            print(counts(selection.states), flush=True)
            time.sleep(WATCH_S)
            selection = Selection(sweep, wanted)
        console.print(table(selection.swept, selection.states))
    if not as_json:
        say(f"{sweep.path.name}: {counts(selection.states)}")
        _say_tracebacks(selection, wanted)
    return int(bool(selection.in_states(*UNFINISHED)))


def _plain(selection: Selection) -> dict[str, dict]:
    """Returns the states as JSON values, by signature."""
    return {
        key: {
            "state": state.state,
            "reason": state.reason,
            "swept": selection.swept[key],
            "folder": str(state.path) if state.path else None,
            "status": state.status.to_json(),
        }
        for key, state in selection.states.items()
    }


def _say_tracebacks(selection: Selection, wanted: list[str]) -> None:
    """Prints where one run was asked for, its traceback; else how to see those there are."""
    failed = [key for key, state in selection.states.items() if state.status.traceback]
    failed = [key for key in failed if selection.states[key].state in UNFINISHED]
    if len(selection.swept) == 1 and failed:
        print(selection.states[failed[0]].status.traceback)
    elif failed:
        name, first = selection.sweep.path.name, words(selection.swept[failed[0]])
        print(f"tracebacks: python -m crate.sweep status {name} {first}")


def show_path(sweep: SweepFolder, wanted: list[str]) -> int:
    """Prints the sweep's folder, or those of the runs asked for; 1 where a run has none yet."""
    if not wanted:
        print(sweep.path)
        return 0
    paths = Selection(sweep, wanted).paths
    for path in paths.values():
        if path is not None:
            print(path)
    return int(None in paths.values())


def show_logs(sweep: SweepFolder, wanted: list[str], *, lines: int | None, follow: bool) -> int:
    """Prints what runs said, each under a line with its values; the last `lines` of it."""
    selection = Selection(sweep, wanted)
    places = {key: [*_logs(selection, key)] for key in selection.swept}
    for key, files in places.items():
        print(f"==> {words(selection.swept[key])}  ({selection.states[key].state})")
        for file in files if lines is None else files[:1]:
            if lines is None and len(files) > 1:
                print(f"--> {file}")
            with open(file, errors="replace") as said:
                print("".join(deque(said, lines)), end="")
    if follow:
        _follow([files[0] for files in places.values() if files])
    return 0


def _logs(selection: Selection, key: str) -> Iterator[Path]:
    """Yields the files that a run's words went to: its own log first, then those of its jobs."""
    path, jobs = selection.paths[key], selection.sweep.jobs
    if path is not None and (path / "log").exists():
        yield path / "log"
    for attempt in selection.manifest.points[key].attempts:
        if attempt.job_id and not os.path.dirname(attempt.job_id.name):
            yield from sorted(jobs.glob(f"{attempt.job_id.name}_*_log.*"))
    for name in (f"{key}.out", "workers.out"):
        if (jobs / name).exists() and (jobs / name).stat().st_size:
            yield jobs / name


def _follow(files: list[Path]) -> None:
    """Prints what is added to logs, until Ctrl-C."""
    said = {file: open(file, errors="replace") for file in files}  # noqa: SIM115
    for file in said.values():
        file.seek(0, 2)
    while True:
        for path, file in said.items():
            for line in file:
                start = f"{path.parent.name[-12:]}  " if len(said) > 1 else ""
                print(f"{start}{line}", end="", flush=True)
        time.sleep(0.5)
