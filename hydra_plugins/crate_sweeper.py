"""`hydra/sweeper=crate`: the points of a sweep file, or of `-m KEY=A,B`. It is the default."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from crate.config.errors import UserError
from crate.config.schema import Sweep
from crate.sweep.points import points


class CrateSweeper(Sweeper):
    """Hands every point of the configured sweep to the launcher."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs what `arguments`, the overrides typed, leave of the sweep; returns the results.

        Raises UserError where a run did not finish.
        """
        none = Sweep(name="", question="", seeds=[])
        sweep = OmegaConf.to_object(self.config.sweep) if self.config.sweep else none
        found = points(sweep, arguments)
        results = self.launcher.launch(found, initial_job_idx=0)
        failed = [result for result in results if result.status is JobStatus.FAILED]
        if failed:
            raise UserError(
                f"{len(failed)} of {len(results)} runs have not finished",
                fix="the same command, which goes on; python -m crate.sweep list names the sweep",
            )
        return results


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="crate",
    node={"_target_": "hydra_plugins.crate_sweeper.CrateSweeper"},
    provider="crate",
)
