"""From the overrides of a sweep's points to frozen, checked and identified runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from crate.config.commandline.diagnose import explain_overrides
from crate.config.label import Choices, label
from crate.config.schema import Config
from crate.errors import UserError, raise_all
from crate.paths import CONF
from crate.run.secrets import redact
from crate.sweep.define.tracked import describe
from crate.tasks.identity import prepare, signature_of

MOST_EXPLAINED = 20  # points whose mistakes are told; explaining one composes several times


@dataclass(frozen=True)
class Point:
    """One run of a sweep: `swept` are the values that tell it from the others, by key."""

    overrides: list[str]
    swept: dict[str, Any]
    config: Config
    signature: str
    label: str


def freeze(points: list[list[str]], master: DictConfig, loader: ConfigLoader) -> list[Point]:
    """Returns every point with its configuration, complete and checked.

    Raises UserError with the mistakes of all points together.
    """
    composer, unvaried = Composer(master, loader), unvaried_overrides(master)
    frozen: list[Point] = []
    mistakes: dict[str, UserError] = {}
    untold = 0
    for overrides in points:
        try:
            cfg, choices = composer.compose(overrides)
            frozen.append(_frozen(overrides, unvaried, prepare(cfg), choices))
        except Exception as error:
            if len(mistakes) >= MOST_EXPLAINED:
                untold += 1
                continue
            mistake = explain_overrides(error, overrides, composer.folders)
            mistakes[str(mistake)] = mistake
    if untold:
        mistakes["untold"] = UserError(f"{untold} more points cannot be run either")
    raise_all(list(mistakes.values()))
    return frozen


def _frozen(overrides: list[str], unvaried: set[str], config: Config, choices: Choices) -> Point:
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


def fixed_overrides(master: DictConfig) -> list[str]:
    """Returns what was typed for all points, but for keys that the sweep's file varies.

    So adding a seed, or narrowing the grid to one value, stays the same sweep.
    """
    typed, varied = OmegaConf.to_container(master.hydra.overrides.task), {"seed"}
    if master.sweep is not None:
        varied |= {key for key, values in master.sweep.grid.items() if _is_many(values)}
        varied |= set(master.sweep.zip)
    parsed = [parse(text) for text in typed]
    return [
        each.input_line
        for each in parsed
        if not each.is_sweep_override() and each.key_or_group not in varied
    ]


def unvaried_overrides(master: DictConfig) -> set[str]:
    """Returns the keys whose one value all points share, typed or of the sweep's file."""
    keys = {parse(text).key_or_group for text in fixed_overrides(master)}
    if master.sweep is None:
        return keys
    typed = {
        parse(text).key_or_group for text in OmegaConf.to_container(master.hydra.overrides.task)
    }
    single = {key for key, values in master.sweep.grid.items() if not _is_many(values)}
    return keys | (single - typed)


def _is_many(values: Any) -> bool:
    """Whether a key of a grid has several values: a list, or Hydra's grammar."""
    if OmegaConf.is_list(values):
        return len(values) > 1
    return isinstance(values, str) and parse(f"key={values}").is_sweep_override()


@cache
def parse(text: str) -> Override:
    """Returns an override of Hydra's grammar, parsed."""
    return OverridesParser.create().parse_override(text)


class Composer:
    """Composes points as Hydra does, but once for each set of group choices.

    Hydra applies plain values to what the groups gave, in a second step; here that step alone is
    taken for each point, on a copy.
    """

    def __init__(self, master: DictConfig, loader: ConfigLoader) -> None:
        self._master, self._loader = master, loader
        self._groups = set(loader.list_groups(""))
        self._composed: dict[tuple[str, ...], tuple[DictConfig, Choices]] = {}

    def compose(self, overrides: list[str]) -> tuple[DictConfig, Choices]:
        """Returns the tree of a point, without Hydra's own node, and its choices by group."""
        values = [text for text in overrides if self._is_value(text)]
        rest = tuple(text for text in overrides if text not in values)
        if rest not in self._composed:
            cfg = self._loader.load_sweep_config(self._master, list(rest))
            choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
            with open_dict(cfg):
                del cfg["hydra"]
            self._composed[rest] = cfg, choices
        base, choices = self._composed[rest]
        cfg = base.copy()
        for text in values:
            OmegaConf.update(cfg, parse(text).key_or_group, parse(text).value(), merge=True)
        return cfg, choices

    @property
    def folders(self) -> list[Path]:
        """Return the folders with YAML files, the checkout's first."""
        found = [
            (each.path or "").partition("://") for each in self._loader.get_search_path().get_path()
        ]
        folders = {Path(path) for scheme, _, path in found if scheme in ("file", "config-dir")}
        return [CONF, *sorted(folders - {CONF})]

    def _is_value(self, text: str) -> bool:
        """Whether an override only gives a value to a key, which no choice of a group can see."""
        override = parse(text)
        key = override.key_or_group
        is_change = not (override.is_add() or override.is_force_add() or override.is_delete())
        is_group = key in self._groups or "/" in key or override.package is not None
        return is_change and not is_group and not key.startswith("hydra.")
