"""`hydra/launcher=local` and `hydra/launcher=slurm`; crate/sweep/launch does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from crate.sweep import options


class _Launcher(Launcher):
    kind: ClassVar[type[options.Launcher]]

    def __init__(self, **values: Any) -> None:
        self.options = self.kind(**OmegaConf.to_container(OmegaConf.create(values), resolve=True))

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.loader = config, hydra_context.config_loader

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from crate.sweep.launch.launch import launch

        return launch(
            [list(point) for point in job_overrides], self.config, self.loader, self.options
        )


class LocalLauncher(_Launcher):
    """Runs the points on this machine, as many at a time as fit."""

    kind = options.Local


class SlurmLauncher(_Launcher):
    """Submits the points to Slurm."""

    kind = options.Slurm


for kind in options.KINDS:
    ConfigStore.instance().store(group="schema/launcher", name=kind.__name__, node=kind)
