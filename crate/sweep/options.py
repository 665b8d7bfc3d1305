"""The typed options of `hydra.launcher` and `hydra.sweeper`: the only place of their defaults.

Each launcher also accepts the options of the others, so that switching launchers needs no other
change. A launch names the options that its launcher ignores. `threads` and `cpus_per_task` mean the
same; if both are given, each launcher reads its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from crate.config.schema import option

EVERYWHERE = {"threads", "cpus_per_task"}  # options that every launcher reads


@dataclass
class LauncherOptions:
    """Options with a meaning for every launcher."""

    _target_: str = option(MISSING, "the plugin's class")
    plan: bool = option(False, "print every run with its cost, and start nothing")
    budget_h: float | None = option(
        None, "device-hours that a launch may need; null: any number", above=0
    )
    tflops: float | None = option(
        None, "TFLOP/s that a device reaches, to estimate what was never measured", above=0
    )
    wait: bool | None = option(
        None,
        "block until all have ended; false: the runs go on in the background; "
        "null: true for a local pool, and for Slurm if the sweeper needs the results",
    )


@dataclass
class PoolOptions:
    """Options of the slots on this machine."""

    slots: int | None = option(
        None, "runs at a time; null: one a GPU, otherwise cores / threads", at_least=1
    )
    threads: int | None = option(
        None, "threads and loader processes a run; null: the cores shared out", at_least=1
    )
    runs_per_gpu: int = option(1, "runs that share a GPU", at_least=1)


@dataclass
class SlurmOptions:
    """Options of Slurm's jobs, named as in Hydra's submitit launcher.

    If an option is null, the site's own default holds.
    """

    name: str | None = option(None, "name of the jobs; null: the sweep's")
    timeout_min: int = option(60, "time limit of a job", at_least=1)
    max_num_timeout: int = option(100, "times that a run goes on after its time limit", at_least=0)
    signal_delay_s: int = option(
        120, "seconds before the time limit at which a run saves", at_least=1
    )
    nodes: int = option(1, "machines a run", at_least=1)
    tasks_per_node: int = option(1, "ranks a machine: one for each of its GPUs", at_least=1)
    cpus_per_task: int | None = option(None, "cores a rank", at_least=1)
    gpus_per_node: int | None = option(None, "GPUs a machine", at_least=0)
    gpus_per_task: int | None = option(None, "GPUs a rank", at_least=0)
    cpus_per_gpu: int | None = option(None, "cores a GPU", at_least=1)
    gres: str | None = option(None, "generic resources, as sbatch takes them")
    mem_gb: float | None = option(None, "memory a machine", above=0)
    mem_per_gpu: str | None = option(None, "memory a GPU, as sbatch takes it")
    mem_per_cpu: str | None = option(None, "memory a core, as sbatch takes it")
    partition: str | None = option(None, "partition")
    qos: str | None = option(None, "quality of service")
    account: str | None = option(None, "account that is charged")
    constraint: str | None = option(None, "features that a machine must have")
    exclude: str | None = option(None, "machines to avoid")
    comment: str | None = option(None, "comment of the jobs")
    array_parallelism: int = option(256, "jobs of an array at a time", at_least=1)
    stderr_to_stdout: bool = option(False, "one log file a job instead of two")
    setup: list[str] = option([], "shell lines before a job starts, such as module load")
    srun_args: list[str] = option([], "further arguments of srun")
    additional_parameters: dict[str, Any] = option({}, "further parameters of sbatch")


@dataclass
class Local(SlurmOptions, PoolOptions, LauncherOptions):
    """A pool of slots on this machine; each runs one point after another."""

    _target_: str = option("hydra_plugins.crate_launchers.LocalLauncher", "the plugin's class")


@dataclass
class Slurm(SlurmOptions, PoolOptions, LauncherOptions):
    """Slurm through submitit."""

    _target_: str = option("hydra_plugins.crate_launchers.SlurmLauncher", "the plugin's class")


@dataclass
class Sweeper:
    """What the sweeper takes."""

    _target_: str = option("hydra_plugins.crate_sweeper.CrateSweeper", "the plugin's class")
    params: dict[str, Any] | None = option({}, "key -> its values, as they would be typed")
    max_points: int = option(10_000, "points that a sweep may have", at_least=1)
