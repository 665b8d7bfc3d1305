"""`hydra/launcher=NAME` for each row of LAUNCHERS; crate/sweep/launch does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher as HydraLauncher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from crate.sweep.launchers import LAUNCHERS
from crate.sweep.launchers.launcher import AnyLauncher


class _Plugin(HydraLauncher):
    kind: ClassVar[type[AnyLauncher]]

    def __init__(self, **values: Any) -> None:
        options = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
        assert isinstance(options, dict)
        named = {str(key): value for key, value in options.items()}
        self.launcher = self.kind(self.kind.options_type(**named))

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.loader = config, hydra_context.config_loader

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from crate.sweep.launch.launch import launch

        points = [list(point) for point in job_overrides]
        return launch(points, self.config, self.loader, self.launcher)


def _plugin(kind: type[AnyLauncher]) -> type[_Plugin]:
    """Return the class that Hydra finds in this module, and that the options name as _target_."""
    name = f"{kind.options_type.__name__}Launcher"
    return type(name, (_Plugin,), {"kind": kind, "__module__": __name__, "__doc__": kind.__doc__})


for _kind in LAUNCHERS.values():
    globals()[f"{_kind.options_type.__name__}Launcher"] = _plugin(_kind)
    ConfigStore.instance().store(
        group="schema/launcher", name=_kind.options_type.__name__, node=_kind.options_type
    )
