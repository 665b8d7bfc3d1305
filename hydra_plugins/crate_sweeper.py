"""`hydra/sweeper=crate`: runs the points of a sweep file. Chosen by `sweep=NAME`."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from crate.config.commandline import explain
from crate.config.errors import UserError, raise_all
from crate.run import prepare
from crate.sweep.points import points


class CrateSweeper(Sweeper):
    """Hands every point of the configured sweep to the launcher."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs what `arguments`, the overrides typed, leave of the sweep; returns the results.

        Raises UserError with the mistakes of all points before the first one starts.
        """
        found = points(OmegaConf.to_object(self.config.sweep), arguments)
        mistakes = {str(error): error for point in found if (error := self._mistake(point))}
        raise_all(list(mistakes.values()))
        return self.launcher.launch(found, initial_job_idx=0)

    def _mistake(self, point: list[str]) -> UserError | None:
        try:
            cfg = self.hydra_context.config_loader.load_sweep_config(self.config, point)
            with open_dict(cfg):
                del cfg["hydra"]
            prepare(cfg)
        except Exception as error:
            return explain(error, point)
        return None


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="crate",
    node={"_target_": "hydra_plugins.crate_sweeper.CrateSweeper"},
    provider="crate",
)
