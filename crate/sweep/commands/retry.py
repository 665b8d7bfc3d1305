"""`retry`: run again what did not finish, with the configuration that its launch froze."""

from __future__ import annotations

import argparse
import logging
import shlex
from dataclasses import replace
from pathlib import Path

from crate.errors import UserError
from crate.run.console import say_on_console
from crate.run.folder import RunFolder
from crate.sweep.code import snapshot
from crate.sweep.commands.arguments import add_runs, sweep_of
from crate.sweep.define.swept import as_words
from crate.sweep.launch.ending import say_end
from crate.sweep.launch.follow import follow
from crate.sweep.launch.handover import hand_over
from crate.sweep.launchers import LAUNCHERS
from crate.sweep.launchers.launcher import AnyLauncher, Request
from crate.sweep.select import Selection
from crate.sweep.state import UNFINISHED
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import LaunchEntry, Manifest
from crate.sweep.stored.outputs import locked
from crate.sweep.stored.point_file import PointFile

logger = logging.getLogger("crate")
FAILED = ("failed", "timeout", "out_of_memory", "dead", "damaged")
LOST = ("lost",)

HELP = "run again what did not finish, with its frozen configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_runs(parser)
    parser.add_argument(
        "--failed", action="store_true", help="only those that failed or were killed"
    )
    parser.add_argument("--lost", action="store_true", help="only those that no job knows of")
    parser.add_argument("--new-code", action="store_true", help="use the checkout's present code")


def run(arguments: argparse.Namespace) -> int:
    """Retry the runs that were named; return 1 if one did not finish."""
    states = FAILED * arguments.failed + LOST * arguments.lost or UNFINISHED
    return retry(sweep_of(arguments), arguments.runs, states, new_code=arguments.new_code)


def retry(sweep: SweepFolder, words: list[str], states: tuple[str, ...], *, new_code: bool) -> int:
    """Hand the runs in `states` that `words` select to the launcher of the sweep's last launch.

    Each run continues from its last checkpoint, with its former code snapshot or, for `new_code`,
    with a snapshot of the present checkout. Return 1 if a run could not be run again, or did not
    finish although this waited for it.
    """
    say_on_console(True)
    with locked(sweep.outputs):
        sweep.repair()
        selection = Selection(sweep, words)
        manifest = selection.manifest
        asked = selection.in_states(*states)
        launcher = _launcher(sweep, manifest) if asked else None
        points = _points(sweep, manifest, asked)
        todo = _snapshots(sweep, manifest, points, new_code=new_code)
        if launcher is None or not todo:
            logger.info("%s: 0 to run again", sweep.path.name)
            return int(bool(asked))
        for key, point in points.items():
            if selection.paths[key] is None:
                RunFolder.create(str(sweep.outputs), point.label, key)
        counts = {"done": 0, "joined": 0, "submitted": len(todo)}
        entry = LaunchEntry.of(launcher.name, launcher.options, **counts)
        manifest.launches.append(replace(entry, code=next(iter(todo.values())).name))
        on_cpu = {point.config["device"] for point in points.values()} == {"cpu"}
        request = Request(sweep, {key: selection.swept[key] for key in todo}, todo, on_cpu)
        jobs = hand_over(launcher, request, manifest)
    where = f", as {jobs_in_words}" if (jobs_in_words := launcher.describe(jobs)) else ""
    logger.info("%s: %d to run again%s", sweep.path.name, len(todo), where)
    waits = launcher.runs_here and launcher.options.wait is not False
    follow(launcher, request, waits=waits)
    ended: list[str] = []
    if waits:
        say_end(sweep, todo)
        ended = [key for key in Selection(sweep, []).in_states(*UNFINISHED) if key in todo]
    return int(len(points) < len(asked) or bool(ended))


def _points(sweep: SweepFolder, manifest: Manifest, keys: list[str]) -> dict[str, PointFile]:
    """Return the frozen points that can be read; log an error with a remedy for each other one."""
    points = {}
    for key in keys:
        try:
            points[key] = sweep.point(key)
        except UserError as error:
            values = as_words(manifest.points[key].swept)
            given = f"{error.given}, so that {values} is not run again"
            allowed = "launching the sweep again, which freezes the point anew"
            logger.error("error: %s", UserError(given, allowed, _command(manifest)))
    return points


def _command(manifest: Manifest) -> str:
    """Return the command that launched a sweep last."""
    command = manifest.launches[-1].command if manifest.launches else []
    return shlex.join(["python", *command]) if command else "the command of its launch"


def _launcher(sweep: SweepFolder, manifest: Manifest) -> AnyLauncher:
    """Return the launcher of the sweep's last launch; raise UserError if that is not known."""
    try:
        last = manifest.launches[-1]
        kind = LAUNCHERS[last.launcher]
        return kind(kind.options_type(**last.options | {"plan": False, "budget_h": None}))
    except (IndexError, KeyError, TypeError) as error:
        raise UserError(
            f"the manifest of {sweep.path.name} does not tell how it was launched",
            "launching the sweep again",
            _command(manifest),
        ) from error


def _snapshots(
    sweep: SweepFolder, manifest: Manifest, points: dict[str, PointFile], *, new_code: bool
) -> dict[str, Path]:
    """Return the code snapshot for each run: a new one for `new_code`, or its former one.

    Raise UserError if a former snapshot is unknown, gone or altered.
    """
    if new_code and points:
        roots = {point.data_root for point in points.values() if point.data_root}
        code = snapshot.take(sweep.outputs, excluded=[Path(root) for root in sorted(roots)])
        return dict.fromkeys(points, code)
    snapshots = {}
    for key in points:
        codes = [each.code for each in manifest.points[key].attempts if each.code]
        codes = codes or [each.code for each in manifest.launches if each.code]
        if not codes:
            given = f"the manifest of {sweep.path.name} does not tell which code ran {key}"
            raise UserError(given, "the present checkout", "--new-code")
        snapshots[key] = snapshot.snapshot_folder(sweep.outputs, codes[-1])
        if not snapshots[key].is_dir():
            given = f"the snapshot {snapshots[key]} is gone"
            raise UserError(given, "the present checkout", "--new-code")
    for code in set(snapshots.values()):
        snapshot.require_intact(code)
    return snapshots
