"""Short names of runs and keys: for folders, W&B and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from crate.config.schema import Config
from crate.config.signature import identity

Choices = dict[str, str]  # group -> option
LONGEST = 60  # characters of a label
NAMED_GROUPS = ("experiment", "optimizer", "schedule", "augment")  # named if typed


def label(config: Config, choices: Choices, overrides: list[str], swept: Iterable[str] = ()) -> str:
    """Return the words that name a run folder: model, swept values, other typed values, data.

    The label names only values that are swept or belong to the identity: `data.workers=4` does not
    appear. A word that would make the label longer than LONGEST is left out, never cut.
    """
    typed = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    first = [key for key in swept if key in typed and key not in ("model", "data")]
    known = known_keys(config) | set(NAMED_GROUPS)
    others = [key for key in typed if key in known and key not in first]
    model, data = _plain(choices["model"]), _plain(choices["data"])
    left, words = LONGEST - len(f"{model}-{data}"), []
    for key in [*first, *others]:
        word = _plain(_word(key, typed[key]))
        if word and len(word) < left:
            words.append(word)
            left -= len(word) + 1
    return "-".join([model, *words, data])


def _word(key: str, value: str) -> str:
    """Return `sparsity0.5`, `mode_kill`, or the option of a group, which needs no key."""
    value = value.strip("'\"")
    if key in NAMED_GROUPS:
        return value
    name, value = key.rpartition(".")[2], short_path(value)
    return f"{name}{value}" if value[:1].isdigit() else f"{name}_{value}"


def _plain(text: str) -> str:
    """Return a text with each character replaced that is no letter, digit, dot or dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("-_.")


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return for each dotted key the shortest of its endings that no other key shares."""
    keys = list(dict.fromkeys(keys))
    endings = {
        key: [key.split(".", dots)[-1] for dots in range(key.count("."), -1, -1)] for key in keys
    }
    shared = [ending for each in endings.values() for ending in each]
    return {
        key: next((ending for ending in endings[key] if shared.count(ending) == 1), key)
        for key in keys
    }


def short_path(value: str) -> str:
    """Return the last part of an absolute path, and any other text as it is."""
    return PurePath(value).name if value.startswith("/") else value


def known_keys(config: Config) -> set[str]:
    """Return the dotted keys of a configuration that belong to its identity.

    An argument of a user's own target counts as model.KEY and as model.kwargs.KEY.
    """
    names = _flat(identity(config))
    return names | {name.replace(".kwargs.", ".", 1) for name in names}


def _flat(values: dict[str, Any], at: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in values.items():
        names |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}"}
    return names
