"""`hydra/sweeper=crate`: the points of a sweep file, or of `-m KEY=A,B`. It is the default."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from crate.config.commandline.overrides import normal
from crate.config.schema import Sweep
from crate.errors import UserError
from crate.sweep import options
from crate.sweep.define.freeze import parse
from crate.sweep.define.points import points, text


class CrateSweeper(Sweeper):
    """Hands every point of the configured sweep to the launcher."""

    def __init__(self, params: DictConfig | None, max_points: int) -> None:
        self.params, self.max_points = dict(params or {}), max_points

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config, self.loader = config, hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run what `arguments`, the overrides typed, leave of the sweep; return the results.

        `params` count as typed where `arguments` do not have their key. Raises UserError if a run
        did not finish.
        """
        arguments = self._with_params(arguments)
        none = Sweep(name="", question="", seeds=[])
        sweep = OmegaConf.to_object(self.config.sweep) if self.config.sweep else none
        found = points(sweep, arguments, self.loader, self.max_points)
        results = self.launcher.launch(found, initial_job_idx=0)
        failed = [result for result in results if result.status is JobStatus.FAILED]
        if failed:
            raise UserError(
                f"{len(failed)} of {len(results)} runs have not finished",
                fix="the same command, which goes on; python -m crate.sweep list names the sweep",
            )
        return results

    def _with_params(self, arguments: list[str]) -> list[str]:
        """Return `arguments` with `params`, in the launcher's configuration as well."""
        keys = {each.get_key_element() for each in map(parse, arguments)}
        params = [normal(f"{key}={text(value)}") for key, value in self.params.items()]
        added = [each for each in params if parse(each).get_key_element() not in keys]
        with read_write(self.config.hydra):
            self.config.hydra.overrides.task += added
        return [*arguments, *added]


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="crate",
    node=options.Sweeper,
    provider="crate",
)
