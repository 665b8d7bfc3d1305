"""What a launch refuses before it reads any run: its options, its sweeper, its points together."""

from __future__ import annotations

from dataclasses import asdict

from omegaconf import DictConfig

from crate.config.checks.rules import rule_errors
from crate.errors import UserError, raise_all
from crate.run.secrets import leaks
from crate.sweep.define.freeze import Point
from crate.sweep.launchers.launcher import AnyLauncher

OWN_SWEEPER = "crate_sweeper.CrateSweeper"
WITHOUT_RESULTS = (OWN_SWEEPER, "basic_sweeper.BasicSweeper")


def check_options(launcher: AnyLauncher, master: DictConfig) -> None:
    """Raise UserError for wrong options, secrets in them, and a sweep file without effect."""
    options = launcher.options
    typed = {f"hydra.launcher.{key}": value for key, value in asdict(options).items()}
    del typed["hydra.launcher._target_"]
    raise_all(rule_errors(options, "hydra.launcher.") + leaks(typed))
    if master.sweep is not None and not master.hydra.sweeper._target_.endswith(OWN_SWEEPER):
        raise UserError(
            f"sweep={master.sweep.name} is for hydra/sweeper=crate",
            "a sweep file, or a sweeper that chooses the points itself",
            "either sweep=... or hydra/sweeper=...",
        )


def check_points(points: list[Point], launcher: AnyLauncher) -> None:
    """Raise UserError if this launcher cannot run the points, or they do not fit together."""
    launcher.check(point.config for point in points)
    errors = []
    if len({point.config.outputs for point in points}) > 1:
        errors.append(UserError("outputs is swept", "one folder a launch", "outputs=FOLDER"))
    devices, key = launcher.devices, launcher.devices_key
    for wanted in {point.config.ranks for point in points} - {None, devices}:
        fix = f"hydra.launcher.{key}={wanted}" if key else f"ranks={devices}"
        errors.append(UserError(f"ranks={wanted}, and a job starts {devices}", str(devices), fix))
    small = min(point.config.train.batch_size for point in points)
    if small < devices:
        errors.append(
            UserError(f"train.batch_size={small} is less than the {devices} ranks of a job")
        )
    raise_all(errors)


def needs_results(master: DictConfig) -> bool:
    """Return whether the sweeper needs the results of a launch to choose the next points."""
    return not master.hydra.sweeper._target_.endswith(WITHOUT_RESULTS)
