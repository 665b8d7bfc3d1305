"""`hydra/sweeper=crate`: the points of a sweep file, or of `-m KEY=A,B`. It is the default."""

from __future__ import annotations

from typing import cast

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from crate.config.commandline.overrides import normal
from crate.config.schema import Sweep
from crate.errors import UserError
from crate.sweep import options
from crate.sweep.define.axes import as_text
from crate.sweep.define.points import points
from crate.sweep.define.typed import parse


class CrateSweeper(Sweeper):
    """Hands every point of the configured sweep to the launcher.

    `params` maps keys to their values; `max_points` limits the points of a sweep.
    """

    config: DictConfig

    def __init__(self, params: DictConfig | None, max_points: int) -> None:
        self.params = {str(key): value for key, value in (params or {}).items()}
        self.max_points = max_points

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the configuration, and make the launcher that it names."""
        self.config, self.loader = config, hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run the sweep, changed by the overrides `arguments` that were typed; return its results.

        `params` count as typed if `arguments` do not have their key. Raise UserError if a run did
        not finish.
        """
        assert self.launcher is not None  # Hydra calls setup first
        arguments = self._with_params(arguments)
        overrides = points(self._sweep(), arguments, self.loader, self.max_points)
        results = list(self.launcher.launch(overrides, initial_job_idx=0))
        failed = [result for result in results if result.status is JobStatus.FAILED]
        if failed:
            raise UserError(
                f"{len(failed)} of {len(results)} runs have not finished",
                fix="the same command, which goes on; python -m crate.sweep list names the sweep",
            )
        return results

    def _sweep(self) -> Sweep:
        """Return the sweep of the file that was chosen, or one without keys."""
        if self.config.sweep is None:
            return Sweep(name="", question="", seeds=[])
        return cast(Sweep, OmegaConf.to_object(self.config.sweep))

    def _with_params(self, arguments: list[str]) -> list[str]:
        """Return `arguments` with `params`, and add these to the launcher's configuration."""
        keys = {each.get_key_element() for each in map(parse, arguments)}
        params = [normal(f"{key}={as_text(value)}") for key, value in self.params.items()]
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
