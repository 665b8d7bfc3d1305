"""What every launcher does: checks all points, freezes them, and has each one run only once."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from crate.config.check import rule_errors
from crate.config.schema import Wandb
from crate.errors import UserError, raise_all
from crate.run.console import say_on_console
from crate.run.folder import RunFolder, require_writable, runs_by_signature
from crate.run.machine import device_errors
from crate.run.secrets import leaks, redact
from crate.run.status import Status
from crate.sweep.code import snapshot
from crate.sweep.code.modules import Modules
from crate.sweep.define.freeze import Point, freeze
from crate.sweep.define.naming import identity_of_fixed, sweep_name
from crate.sweep.job import write_point
from crate.sweep.launch import background
from crate.sweep.launch.announce import in_words, say_ignored, warn_of_best
from crate.sweep.launch.ending import say_commands, say_end
from crate.sweep.launch.handover import hand_over
from crate.sweep.launch.plan import check_budget, estimates, say_plan
from crate.sweep.launch.wait import wait
from crate.sweep.launchers import local, slurm
from crate.sweep.options import Launcher, Local, Slurm
from crate.sweep.state import RunState, look
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import LaunchEntry, Manifest
from crate.sweep.stored.outputs import locked
from crate.tasks.decision import Verdict, decide, questions

logger = logging.getLogger("crate")
NEW = RunState("new", None, Status(), None)
WITHOUT_RESULTS = ("crate_sweeper.CrateSweeper", "basic_sweeper.BasicSweeper")


@dataclass
class Launch:
    """Points on their way to a launcher; `states` are those found, by signature."""

    sweep: SweepFolder
    points: dict[str, Point]
    states: dict[str, RunState]
    options: Launcher

    def pick(self, *states: str) -> list[str]:
        """Returns the signatures of the points in one of `states`, in the sweep's order."""
        return [key for key in self.points if self.states[key].state in states]

    @property
    def todo(self) -> list[str]:
        return [
            key
            for key in self.points
            if not self.states[key].is_active and self.states[key].state != "finished"
        ]

    @property
    def joined(self) -> list[str]:
        return [key for key in self.points if self.states[key].is_active]


def launch(
    overrides: list[list[str]], master: DictConfig, loader: ConfigLoader, options: Launcher
) -> list[JobReturn]:
    """Runs points given as overrides, or has them run; returns one result for each.

    A point that is done is not run again, one that is at work is joined. A run that failed is a
    FAILED result; one that nobody waits for is a COMPLETED one without a value. Raises UserError
    with the mistakes of all points, before any has started.
    """
    say_on_console(True)
    typed = {f"hydra.launcher.{key}": value for key, value in asdict(options).items()}
    del typed["hydra.launcher._target_"]
    raise_all(rule_errors(options, "hydra.launcher.") + leaks(typed))
    say_ignored(options, list(master.hydra.overrides.hydra))
    _require_own_sweeper(master)
    if isinstance(options, Slurm) and not options.plan:
        slurm.require_slurm()
    frozen = freeze(overrides, master, loader)
    if isinstance(options, Local):
        devices = dict.fromkeys(point.config.device for point in frozen)
        raise_all([error for device in devices for error in device_errors(device)])
    _check_together(frozen, options)
    points = {point.signature: point for point in frozen}
    outputs = frozen[0].config.outputs
    name, fixed = sweep_name(frozen, master), identity_of_fixed(frozen[0], master)
    if options.plan:
        states = _look(points, outputs)
        say_plan(points, states | dict.fromkeys(_to_set_aside(points, states), NEW), options)
        return [JobReturn(status=JobStatus.COMPLETED) for _ in frozen]
    require_writable(outputs)
    with locked(outputs):
        earlier = _look(points, outputs)
        aside = _to_set_aside(points, earlier)
        states = earlier | dict.fromkeys(aside, NEW)
        sweep = SweepFolder.create(Path(outputs), name, fixed)
        launched = Launch(sweep, points, states, options)
        if options.budget_h is not None:
            check_budget(estimates(points, states, options), options)
        code = _snapshot(launched)
        for key in aside:  # once nothing can refuse the launch any more
            logger.info("set aside: %s", RunFolder(earlier[key].path).set_aside())
        stated = OmegaConf.to_container(master.sweep) if master.sweep else {}
        manifest = replace(sweep.manifest, name=name, fixed=redact(fixed)).with_points(
            stated, points
        )
        done, joined, todo = launched.pick("finished"), launched.joined, launched.todo
        counts = {"done": len(done), "joined": len(joined), "submitted": len(todo)}
        manifest.launches.append(LaunchEntry.of(options, **counts))
        todo = _freeze(launched, manifest, code)
        heartbeat = local.Heartbeat.new(sweep)
        arrays = hand_over(sweep, manifest, todo, options, heartbeat)
    logger.info("%s: %s", sweep.path.name, in_words(**counts, arrays=arrays))
    warn_of_best([states[key].path for key in done])
    waits = _waits(options, master)
    swept = {key: point.swept for key, point in points.items() if waits or key in todo}
    if isinstance(options, Local) and (waits or todo):
        on_cpu = all(points[key].config.device == "cpu" for key in todo)
        request = local.Request(sweep, heartbeat, swept, todo, options, on_cpu)
        local.run_all(request) if waits else background.start(request)
    elif waits:
        wait(sweep, swept)
    if not waits:
        say_commands(sweep, **{"status --watch": "", "results": "", "cancel": ""})
        return [_result(each, launched.states[each.signature], waited=False) for each in frozen]
    if not _is_of_others(master):
        say_end(sweep, points)
    ended = _look(points, outputs)
    return [_result(each, ended[each.signature], waited=True) for each in frozen]


def _require_own_sweeper(master: DictConfig) -> None:
    """Raises UserError where a sweep file would be passed over in silence."""
    if master.sweep is not None and not master.hydra.sweeper._target_.endswith(WITHOUT_RESULTS[0]):
        raise UserError(
            f"sweep={master.sweep.name} is for hydra/sweeper=crate",
            "a sweep file, or a sweeper that chooses the points itself",
            "either sweep=... or hydra/sweeper=...",
        )


def _check_together(points: list[Point], options: Launcher) -> None:
    """Raises UserError for what no point says of itself."""
    errors = []
    if len({point.config.outputs for point in points}) > 1:
        errors.append(UserError("outputs is swept", "one folder a launch", "outputs=FOLDER"))
    ranks = options.nodes * options.tasks_per_node if isinstance(options, Slurm) else 1
    for wanted in {point.config.ranks for point in points} - {None, ranks}:
        fix = f"hydra.launcher.tasks_per_node={wanted}" if isinstance(options, Slurm) else "ranks=1"
        errors.append(UserError(f"ranks={wanted}, and a job starts {ranks}", str(ranks), fix))
    small = min(point.config.train.batch_size for point in points)
    if small < ranks:
        errors.append(
            UserError(f"train.batch_size={small} is less than the {ranks} ranks of a job")
        )
    raise_all(errors)


def _look(points: dict[str, Point], outputs: str) -> dict[str, RunState]:
    folders = runs_by_signature(outputs)
    return look({key: folders.get(key) for key in points})


def _to_set_aside(points: dict[str, Point], states: dict[str, RunState]) -> list[str]:
    """Return the signatures of the existing runs that are to be trained anew.

    Raise UserError for those that are active, and for finished runs whose code or images changed
    if the user has yet to decide about them.
    """
    decisions = {
        key: decide(state.path, state.status, points[key].config) for key, state in states.items()
    }
    aside = [key for key, each in decisions.items() if each.verdict is Verdict.SET_ASIDE]
    active = [states[key] for key in aside if states[key].is_active]
    errors = [
        UserError(
            f"{state.path.name} is {state.state}; it cannot be set aside",
            "its end",
            "python -m crate.sweep cancel NAME",
        )
        for state in active
        if state.path is not None
    ]
    raise_all(errors + questions(decisions.values()))
    return aside


def _snapshot(launched: Launch) -> Path | None:
    """Return a snapshot of the code for the points that are to be run; None if there are none."""
    if not launched.todo:
        return None
    nodes = [launched.points[key].config.data for key in launched.todo]
    roots = [Path(root) for data in nodes if (root := getattr(data, "root", None))]
    return snapshot.take(launched.sweep.outputs, excluded=list(dict.fromkeys(roots)))


def _freeze(launched: Launch, manifest: Manifest, code: Path | None) -> dict[str, Path]:
    """Write down what is to be run, by which code; return the snapshot of each point."""
    launched.sweep.write_manifest(manifest)
    if code is not None:
        manifest.launches[-1].code = code.name
    _write_points(launched, manifest)
    todo = [launched.points[key] for key in launched.todo]
    for point in todo:
        RunFolder.create(point.config.outputs, point.label, point.signature)
    return {point.signature: code for point in todo if code is not None}


def _write_points(launched: Launch, manifest: Manifest) -> None:
    """Freeze the points that are to be run, and those of which the sweep has no file yet."""
    sweep, todo = launched.sweep, set(launched.todo)
    points = [
        point
        for key, point in launched.points.items()
        if key in todo or not sweep.point_file(key).exists()
    ]
    modules = Modules.of([point.config for point in points])
    manifest.launches[-1].outside = modules.outside
    for point in points:
        if isinstance(point.config.tracker, Wandb):
            point.config.tracker.group = point.config.tracker.group or sweep.path.name
        write_point(sweep, manifest, point, modules)


def _waits(options: Launcher, master: DictConfig) -> bool:
    if options.wait is not None:
        return options.wait
    return isinstance(options, Local) or _is_of_others(master)


def _is_of_others(master: DictConfig) -> bool:
    """Return whether the sweeper needs the results of each launch, to choose the next points."""
    return not master.hydra.sweeper._target_.endswith(WITHOUT_RESULTS)


def _result(point: Point, state: RunState, *, waited: bool) -> JobReturn:
    result = JobReturn(overrides=point.overrides, status=JobStatus.COMPLETED)
    if state.state == "finished":
        result.return_value = state.status.best
    elif waited:
        result.status = JobStatus.FAILED
        what = f"{state.path.name if state.path else point.label} {state.state}"
        result.return_value = UserError(f"{what}: {state.reason}" if state.reason else what)
    return result
