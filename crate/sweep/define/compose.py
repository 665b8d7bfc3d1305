"""Points composed as Hydra composes them, but quickly: once for each set of group choices."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict

from crate.config.label import Choices
from crate.paths import CONF
from crate.sweep.define.typed import parse


class Composer:
    """Composes points from their overrides.

    Hydra first composes the chosen groups and then applies plain values. Points that differ in
    plain values alone share the first step here; the second one is taken on a copy.
    """

    def __init__(self, master: DictConfig, loader: ConfigLoader) -> None:
        self._master, self._loader = master, loader
        self._groups = set(loader.list_groups(""))
        self._composed: dict[tuple[str, ...], tuple[DictConfig, Choices]] = {}

    def compose(self, overrides: list[str]) -> tuple[DictConfig, Choices]:
        """Return the tree of a point without Hydra's node, and the chosen option of each group."""
        values = [text for text in overrides if self._is_value(text)]
        rest = tuple(text for text in overrides if text not in values)
        if rest not in self._composed:
            cfg = self._loader.load_sweep_config(self._master, list(rest))
            choices = cast(Choices, OmegaConf.to_container(cfg.hydra.runtime.choices))
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
        """The folders with YAML files, the checkout's first."""
        urls = [
            (each.path or "").partition("://") for each in self._loader.get_search_path().get_path()
        ]
        folders = {Path(path) for scheme, _, path in urls if scheme in ("file", "config-dir")}
        return [CONF, *sorted(folders - {CONF})]

    def _is_value(self, text: str) -> bool:
        """Return whether an override gives a value to a key, and so cannot change the groups."""
        override = parse(text)
        key = override.key_or_group
        is_change = not (override.is_add() or override.is_force_add() or override.is_delete())
        is_group = key in self._groups or "/" in key or override.package is not None
        return is_change and not is_group and not key.startswith("hydra.")
