"""One launch of a sweep: check all points, freeze them, and have each one run only once."""

from __future__ import annotations

import logging

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from crate.errors import UserError
from crate.run.console import say_on_console
from crate.run.folder import require_writable
from crate.sweep.define.freeze import Point, freeze
from crate.sweep.launch.announce import in_words, say_ignored, warn_of_best
from crate.sweep.launch.budget import check_budget
from crate.sweep.launch.check import check_options, check_points, needs_results
from crate.sweep.launch.ending import say_commands, say_end
from crate.sweep.launch.estimate import estimates
from crate.sweep.launch.follow import follow
from crate.sweep.launch.handover import hand_over
from crate.sweep.launch.pending import Pending, look_at
from crate.sweep.launch.plan import say_plan
from crate.sweep.launch.record import write_down
from crate.sweep.launchers.launcher import AnyLauncher, Request
from crate.sweep.state import RunState
from crate.sweep.stored.outputs import locked

logger = logging.getLogger("crate")


def launch(
    overrides: list[list[str]], master: DictConfig, loader: ConfigLoader, launcher: AnyLauncher
) -> list[JobReturn]:
    """Run points given as overrides, or have them run; return one result for each.

    A finished point is not run again, and one that is at work is joined. The result of a run that
    failed is FAILED; that of a run that nobody waits for is COMPLETED, without a value. Raise
    UserError with the mistakes of all points before any of them starts.
    """
    say_on_console(True)
    check_options(launcher, master)
    say_ignored(launcher, list(master.hydra.overrides.hydra))
    frozen = freeze(overrides, master, loader)
    check_points(frozen, launcher)
    points = {point.signature: point for point in frozen}
    if launcher.options.plan:
        say_plan(Pending.of(points), launcher)
        return [JobReturn(status=JobStatus.COMPLETED) for _ in frozen]
    waits = _waits(launcher, master)
    pending, request = _begin(points, frozen, master, launcher, waits=waits)
    follow(launcher, request, waits=waits)
    if not waits:
        say_commands(request.sweep, **{"status --watch": "", "results": "", "cancel": ""})
        return [_result(point, pending.states[point.signature], False) for point in frozen]
    if not needs_results(master):
        say_end(request.sweep, points)
    ended = look_at(points)
    return [_result(point, ended[point.signature], True) for point in frozen]


def _begin(
    points: dict[str, Point],
    frozen: list[Point],
    master: DictConfig,
    launcher: AnyLauncher,
    *,
    waits: bool,
) -> tuple[Pending, Request]:
    """Decide what is to be run, write it down, and hand it over to the launcher."""
    outputs = frozen[0].config.outputs
    require_writable(outputs)
    with locked(outputs):
        pending = Pending.of(points)
        if launcher.options.budget_h is not None:
            check_budget(estimates(pending, launcher), launcher.options.budget_h)
        sweep, manifest, todo = write_down(pending, frozen, master, launcher)
        swept = {key: point.swept for key, point in points.items() if waits or key in todo}
        on_cpu = all(points[key].config.device == "cpu" for key in todo)
        request = Request(sweep, swept, todo, on_cpu)
        jobs = hand_over(launcher, request, manifest)
    words = in_words(**pending.counts, where=launcher.describe(jobs) if jobs else "")
    logger.info("%s: %s", sweep.path.name, words)
    warn_of_best([path for key in pending.done if (path := pending.states[key].path)])
    return pending, request


def _waits(launcher: AnyLauncher, master: DictConfig) -> bool:
    """Return whether this process is to wait until all runs have ended."""
    wait: bool | None = launcher.options.wait
    return wait if wait is not None else launcher.runs_here or needs_results(master)


def _result(point: Point, state: RunState, waited: bool) -> JobReturn:
    """Return the result of a point for the sweeper; `waited` means that its run has ended."""
    result = JobReturn(overrides=point.overrides, status=JobStatus.COMPLETED)
    if state.state == "finished":
        result.return_value = state.status.best
    elif waited:
        result.status = JobStatus.FAILED
        outcome = f"{state.path.name if state.path else point.label} {state.state}"
        reason = f": {state.reason}" if state.reason else ""
        result.return_value = UserError(outcome + reason)
    return result
