"""Overrides as they were typed: parsed, and which of them all points of a sweep share."""

from __future__ import annotations

from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from crate.sweep.define.axes import as_typed


@cache
def parse(text: str) -> Override:
    """Return an override, parsed by Hydra's grammar."""
    return OverridesParser.create().parse_override(text)


def fixed_overrides(master: DictConfig) -> list[str]:
    """Return what was typed for all points, except for keys that the sweep's file varies.

    So a sweep stays the same one if a seed is added, or if its grid is narrowed to one value.
    """
    varied = {"seed"}
    if master.sweep is not None:
        varied |= {key for key, values in master.sweep.grid.items() if _is_many(values)}
        varied |= set(master.sweep.zip)
    return [
        as_typed(each)
        for each in _typed(master)
        if not each.is_sweep_override() and each.key_or_group not in varied
    ]


def unvaried_overrides(master: DictConfig) -> set[str]:
    """Return the keys that have one value for all points, typed or from the sweep's file."""
    keys = {parse(text).key_or_group for text in fixed_overrides(master)}
    if master.sweep is None:
        return keys
    typed = {each.key_or_group for each in _typed(master)}
    single = {key for key, values in master.sweep.grid.items() if not _is_many(values)}
    return keys | (single - typed)


def _typed(master: DictConfig) -> list[Override]:
    """Return all overrides of the launch; interpolations in them stay as they are."""
    texts = OmegaConf.to_container(master.hydra.overrides.task, resolve=False)
    assert isinstance(texts, list)
    return [parse(text) for text in texts]


def _is_many(values: Any) -> bool:
    """Return whether a key of a grid has several values: a list, or a sweep in Hydra's grammar."""
    if OmegaConf.is_list(values):
        return len(values) > 1
    return isinstance(values, str) and parse(f"key={values}").is_sweep_override()
