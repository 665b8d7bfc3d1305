"""What changed since a run was trained: its code or its images, and what to do about it.

A finished run whose code or images changed is "done", but perhaps not what the user asks for now.
So the user decides: `other_code` and `other_data` are `ask`, `accept` or `rerun`. Imports no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crate.config.schema import Config, Data
from crate.data import facts
from crate.errors import UserError, shorten
from crate.run import code_record

logger = logging.getLogger("crate")
Changes = dict[str, list[str]]  # the key that decides -> what changed; {} where nothing did

TRAINED = {"other_code": "trained by other code", "other_data": "trained on other images"}
UNKNOWN = "an earlier version trained it, which did not record its files"


def changes(meta: dict[str, Any], data: Data) -> Changes:
    """Return what differs from a run's `meta` (its meta.json) in the code and the images."""
    return code_changes(meta) | data_changes(meta, data)


def code_changes(meta: dict[str, Any]) -> Changes:
    """Return {"other_code": changed files} where a run's code is not what it was."""
    files = meta.get("code")
    if not isinstance(files, dict):  # a hash of the whole package alone, of an earlier version
        return {"other_code": [UNKNOWN]} if meta.get("fingerprint") else {}
    changed = code_record.changed_files(files)
    return {"other_code": changed} if changed else {}


def data_changes(meta: dict[str, Any], data: Data) -> Changes:
    """Return {"other_data": the folder} where the images of a run are not what they were."""
    before, now = meta.get("images"), facts.stamp(data)
    return {"other_data": [f"files in {data.root}"]} if before and now and before != now else {}


def wants_rerun(found: Changes, config: Config) -> bool:
    """Tell whether a finished run with these changes is to be trained anew."""
    return any(getattr(config, key) == "rerun" for key in found)


def say_mixed(found: Changes, step: int) -> None:
    """Warn that an unfinished run, which has made `step` steps, goes on differently."""
    for key, what in found.items() if step else ():
        logger.warning("the first %d steps were %s: %s", step, TRAINED[key], shorten(what, 6))


def unanswered(runs: Iterable[tuple[Path, Changes, Config]]) -> list[UserError]:
    """Return one error for each kind of change that the user has yet to decide about.

    `runs` are finished runs: the folder, what changed since, and the configuration asked for.
    """
    errors, runs = [], list(runs)
    for key, words in TRAINED.items():
        asked = [(path, found[key]) for path, found, config in runs if _asks(key, found, config)]
        if asked:
            what = shorten(dict.fromkeys(each for _, names in asked for each in names), 6)
            one = f"{asked[0][0]} was"
            who = one if len(asked) == 1 else f"{len(asked)} finished runs were"
            errors.append(
                UserError(
                    f"{who} {words} than there is now; changed since: {what}",
                    "the results as they are, or training anew",
                    f"{key}=accept or {key}=rerun",
                )
            )
    return errors


def _asks(key: str, found: Changes, config: Config) -> bool:
    return key in found and getattr(config, key) == "ask"
