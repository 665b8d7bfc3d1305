"""A configuration in words, for the names of folders."""

from __future__ import annotations

import re
from typing import Any

from crate.config.schema import Config
from crate.config.signature import identity

Choices = dict[str, str]  # group -> option


def label(config: Config, choices: Choices, overrides: list[str]) -> str:
    """Returns a configuration in words, for the folder's name: its choices and what was typed.

    Only what belongs to the identity is named, so that data.workers=4 does not appear.
    """
    words = [choices["model"], choices["data"], choices["optimizer"]]
    known = known_keys(config)
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in known:
            words.append(f"{key.split('.')[-1]}{value}")
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(words))
    return text[:100].rstrip("-_.")


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
