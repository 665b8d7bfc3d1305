"""The points of a sweep, frozen: each with its checked configuration, signature and label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from crate.config.commandline.diagnose import explain_overrides
from crate.config.label import Choices, label
from crate.config.schema import Config
from crate.errors import UserError, raise_all
from crate.run.secrets import redact
from crate.sweep.define.compose import Composer
from crate.sweep.define.tracked import describe
from crate.sweep.define.typed import parse, unvaried_overrides
from crate.tasks.identity import prepare, signature_of

MOST_EXPLAINED = 20  # points whose mistakes are shown; explaining one composes several times


@dataclass(frozen=True)
class Point:
    """One run of a sweep; `swept` holds the values, by key, that differ from other points'."""

    overrides: list[str]
    swept: dict[str, Any]
    config: Config
    signature: str
    label: str


def freeze(points: list[list[str]], master: DictConfig, loader: ConfigLoader) -> list[Point]:
    """Return each point, given as overrides, with its complete and checked configuration.

    Raise UserError with the mistakes of all points together.
    """
    composer, unvaried = Composer(master, loader), unvaried_overrides(master)
    frozen: list[Point] = []
    mistakes: dict[str, UserError] = {}
    num_unexplained = 0
    for overrides in points:
        try:
            cfg, choices = composer.compose(overrides)
            frozen.append(_frozen(overrides, unvaried, prepare(cfg), choices))
        except Exception as error:
            if len(mistakes) >= MOST_EXPLAINED:
                num_unexplained += 1
                continue
            mistake = explain_overrides(error, overrides, composer.folders)
            mistakes[str(mistake)] = mistake
    if num_unexplained:
        mistakes["others"] = UserError(f"{num_unexplained} more points cannot be run either")
    raise_all(list(mistakes.values()))
    return frozen


def _frozen(overrides: list[str], unvaried: set[str], config: Config, choices: Choices) -> Point:
    """Return the point of a checked configuration; raise UserError for a task but `train`."""
    if config.task != "train":
        raise UserError(
            f"task={config.task} is not for a launcher", "task=train", "hydra/launcher=basic"
        )
    values = {each.key_or_group: each.value() for each in map(parse, overrides)}
    keys = sorted((key for key in values if key not in unvaried), key="seed".__eq__)  # seed last
    swept = {key: values[key] for key in keys}
    describe(config, swept, values)
    words = label(config, redact(choices), redact(overrides), swept)
    return Point(overrides, swept, config, signature_of(config), words)
