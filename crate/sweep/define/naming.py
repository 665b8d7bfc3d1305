"""The identity of a sweep: its name, and the overrides that all of its points share."""

from __future__ import annotations

from omegaconf import DictConfig

from crate.config.label import known_keys
from crate.paths import CHECKOUT
from crate.sweep.define.freeze import Point
from crate.sweep.define.typed import fixed_overrides, parse

GROUPS = ("model", "optimizer", "data", "schedule", "augment", "experiment")


def sweep_name(points: list[Point], master: DictConfig) -> str:
    """Return the sweep's name: typed, that of its file, or made of the swept keys."""
    if master.name is not None:
        return master.name
    if master.sweep is not None:
        return master.sweep.name
    keys = dict.fromkeys(key for point in points for key in point.swept)
    words = [key.rpartition(".")[2] for key in keys if key != "seed" or len(keys) == 1]
    return "_x_".join(words) or points[0].label


def identity_of_fixed(point: Point, master: DictConfig) -> list[str]:
    """Return the typed overrides that all points share and that can change their results.

    A path below the checkout is made relative to it, so that two checkouts agree on the sweep.
    """
    known = {*GROUPS, "init_from", *known_keys(point.config)}
    typed = [text for text in fixed_overrides(master) if parse(text).key_or_group in known]
    paths = [text for text in typed if parse(text).key_or_group == "init_from"]
    others = [text for text in typed if text not in paths]
    return sorted(others + [text.replace(f"{CHECKOUT}/", "", 1) for text in paths])
