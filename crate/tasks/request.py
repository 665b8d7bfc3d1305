"""What a task is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from crate.config.label import Choices
from crate.config.schema import Config
from crate.ranks import Ranks
from crate.tasks.identity import prepare


@dataclass(frozen=True)
class Request:
    """A composed configuration and what was typed, for one task.

    `cfg` is the composed configuration, `choices` holds the chosen option of each group,
    `overrides` is what was typed. `ranks` are the processes that do the task together; rank 0 alone
    logs to the console. `ends_process` tells that the process exits after the task.
    """

    cfg: DictConfig
    choices: Choices
    overrides: list[str]
    ranks: Ranks
    ends_process: bool = False

    def config(self) -> Config:
        """Return the configuration, completed from the data, checked and typed.

        Raise UserError for all mistakes together.
        """
        return prepare(self.cfg)
