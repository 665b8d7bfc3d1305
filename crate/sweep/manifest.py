"""What a sweep's manifest says: its question, its launches, its points and their jobs."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from crate.config.label import known_keys
from crate.paths import CHECKOUT
from crate.secrets import redact
from crate.sweep.freeze import Point, fixed_overrides, parse
from crate.sweep.options import Launcher

GROUPS = ("model", "optimizer", "data", "schedule", "augment", "experiment")
STATED = ("question", "grid", "zip", "seeds", "baseline", "metric", "published", "source")


def sweep_name(points: list[Point], master: DictConfig) -> str:
    """Returns the sweep's name: as typed, of its file, or the swept keys."""
    if master.name is not None:
        return master.name
    if master.sweep is not None:
        return master.sweep.name
    keys = dict.fromkeys(key for point in points for key in point.swept)
    words = [key.rpartition(".")[2] for key in keys if key != "seed" or len(keys) == 1]
    return "_x_".join(words) or points[0].label


def identity_of_fixed(point: Point, master: DictConfig) -> list[str]:
    """Return what was typed for all points, as far as it can change their results.

    A path below the checkout counts as typed there, so that the sweep is the same from any folder.
    """
    known = {*GROUPS, "init_from", *known_keys(point.config)}
    typed = [text for text in fixed_overrides(master) if parse(text).key_or_group in known]
    paths = [text for text in typed if parse(text).key_or_group == "init_from"]
    others = [text for text in typed if text not in paths]
    return sorted(others + [text.replace(f"{CHECKOUT}/", "", 1) for text in paths])


def next_manifest(
    old: dict[str, Any],
    name: str,
    fixed: list[str],
    master: DictConfig,
    points: dict[str, Point],
) -> dict[str, Any]:
    """Returns a sweep's manifest with `points`, by signature, added to those of `old`."""
    stated = OmegaConf.to_container(master.sweep) if master.sweep else {}
    known = dict(old.get("points", {}))
    for key, point in points.items():
        attempts = known.get(key, {}).get("attempts", [])
        asked = redact({"overrides": point.overrides, "swept": point.swept})
        known[key] = asked | {"attempts": attempts}
    return {
        "name": name,
        "fixed": redact(fixed),
        **redact({key: stated.get(key, old.get(key)) for key in STATED}),
        "launches": list(old.get("launches", [])),
        "points": known,
    }


def launch_entry(options: Launcher, counts: dict[str, int]) -> dict[str, Any]:
    """Returns what is noted of a launch: when, how, by which code, and how many it began."""
    return {
        "time": time.time(),
        "launcher": type(options).__name__.lower(),
        "options": asdict(options),
        "command": redact(sys.argv),
        "counts": counts,
    }
