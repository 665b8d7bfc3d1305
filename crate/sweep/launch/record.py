"""What a launch writes down before anything runs: the code, the manifest, the frozen points."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from crate.config.schema import Wandb, dump
from crate.run import records
from crate.run.folder import RunFolder
from crate.run.secrets import file_mode, redact
from crate.sweep.code import snapshot
from crate.sweep.code.modules import Modules
from crate.sweep.define.freeze import Point
from crate.sweep.define.naming import identity_of_fixed, sweep_name
from crate.sweep.define.seal import seal
from crate.sweep.launch.pending import Pending, data_roots
from crate.sweep.launchers.launcher import AnyLauncher
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import LaunchEntry, Manifest
from crate.sweep.stored.point_file import PointFile


def write_down(
    pending: Pending, frozen: list[Point], master: DictConfig, launcher: AnyLauncher
) -> tuple[SweepFolder, Manifest, dict[str, Path]]:
    """Return the sweep's folder, its manifest, and the code snapshot of each point to be run.

    The caller holds the lock of the outputs.
    """
    name, fixed = sweep_name(frozen, master), identity_of_fixed(frozen[0], master)
    sweep = SweepFolder.create(pending.outputs, name, fixed)
    todo = {key: pending.points[key] for key in pending.todo}
    code = snapshot.take(sweep.outputs, excluded=data_roots(todo.values())) if todo else None
    pending.set_aside()  # nothing can refuse the launch any more
    manifest = replace(sweep.manifest, name=name, fixed=redact(fixed))
    manifest = manifest.with_points(_statement(master), pending.points)
    manifest.launches.append(LaunchEntry.of(launcher.name, launcher.options, **pending.counts))
    sweep.write_manifest(manifest)
    manifest.launches[-1].code = code.name if code else None
    _write_points(sweep, manifest, pending)
    for point in todo.values():
        RunFolder.create(point.config.outputs, point.label, point.signature)
    return sweep, manifest, {key: code for key in todo if code is not None}


def _statement(master: DictConfig) -> Mapping[str, Any]:
    """Return what the sweep's file states, by key; nothing for a sweep of the command line."""
    statement = OmegaConf.to_container(master.sweep) if master.sweep else {}
    assert isinstance(statement, dict)
    return {str(key): value for key, value in statement.items()}


def _write_points(sweep: SweepFolder, manifest: Manifest, pending: Pending) -> None:
    """Freeze the points that are to be run, and those of which the sweep has no file yet."""
    todo = set(pending.todo)
    points = [
        point
        for key, point in pending.points.items()
        if key in todo or not sweep.point_file(key).exists()
    ]
    modules = Modules.of([point.config for point in points])
    manifest.launches[-1].outside = modules.outside
    for point in points:
        if isinstance(point.config.tracker, Wandb):
            point.config.tracker.group = point.config.tracker.group or sweep.path.name
        write_point(sweep, manifest, point, modules)


def write_point(sweep: SweepFolder, manifest: Manifest, point: Point, modules: Modules) -> None:
    """Write all that a job needs to know of a point, and what the manifest is rebuilt from.

    What only a launch may decide is decided: a job that comes back after a preemption must not set
    its own work aside.
    """
    config = dump(point.config) | {"rerun": False, "resume": "auto"}
    config |= {"other_code": "accept", "other_data": "accept"}
    values = PointFile(
        signature=point.signature,
        label=point.label,
        overrides=redact(point.overrides),
        swept=redact(point.swept),
        config=config,
        folder=os.getcwd(),
        modules=asdict(modules),
        fixed=manifest.fixed,
        launch=manifest.launches[-1],
    )
    sealed = PointFile.from_json(seal(values.to_json(), point.config))
    records.write(sweep.point_file(point.signature), sealed, file_mode(config))
