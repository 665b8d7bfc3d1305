"""Secrets: which texts are secret, and how they are kept out of files and messages.

Everything that people read is redacted: logs, `config.yaml`, `overrides.yaml`, `meta.json`, the
manifest, and all that a tracker gets. Values that are restored and run are not: frozen points and
the configuration in a checkpoint. Only their owner may read these files if they hold a secret. A
secret in the name of a folder or job is refused. Imports no torch.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.errors import UserError

WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")  # in the names of environment variables
MIN_LENGTH = 8  # shorter values are too likely to be ordinary words
# Keys whose values become names of folders and jobs, or are shown by a tracker.
NAMES = (
    "name",
    "sweep.name",
    *(f"tracker.{key}" for key in ("project", "entity", "group", "job_type", "tags", "name")),
)

FIX = {"sweep.name": "name"}


def redact(value: Any) -> Any:
    """Return a text, or nested lists and dicts of texts, with `<NAME>` for each secret in it."""
    if isinstance(value, str):
        for name, secret in known():
            value = value.replace(secret, f"<{name}>")
        return value
    if isinstance(value, dict):
        return {key: redact(entry) for key, entry in value.items()}
    return type(value)(map(redact, value)) if isinstance(value, (list, tuple)) else value


def file_mode(values: Any) -> int:
    """Return the permissions of a file that holds `values`: its owner's alone for a secret."""
    return 0o600 if redact(values) != values else 0o666


def leaks(values: dict[str, Any]) -> list[UserError]:
    """Return an error for each key whose value contains a secret; the value is not shown."""
    return [
        UserError(
            f"{key} contains the value of the secret {name}, and would show it in names or files",
            "a value without it",
            f"{FIX.get(key, key)}=VALUE, or unset the variable {name} if it is no secret",
        )
        for key, value in values.items()
        for name in _names_in(value)
    ]


def leaking_names(cfg: DictConfig) -> list[UserError]:
    """Return an error for each name in a composed configuration that contains a secret."""
    values = {}
    for key in NAMES:
        with suppress(OmegaConfBaseException):  # a value that cannot be read is reported elsewhere
            values[key] = OmegaConf.select(cfg, key)
    if values.get("name") is not None:  # it replaces the name of the sweep's file
        values.pop("sweep.name", None)
    return leaks(values)


def _names_in(value: Any) -> Iterator[str]:
    """Yield the names of the secrets in a text, or in nested lists and dicts of texts."""
    if isinstance(value, str):
        yield from (name for name, secret in known() if secret in value)
    elif OmegaConf.is_config(value) or isinstance(value, (dict, list, tuple)):
        is_dict = OmegaConf.is_dict(value) or isinstance(value, dict)
        for entry in value.values() if is_dict else value:
            yield from _names_in(entry)


@cache
def known() -> list[tuple[str, str]]:
    """Return (name, value) of the secrets in the environment and in ~/.netrc, longest first.

    The path of an existing file is not a secret.
    """
    candidates = [
        (name, value)
        for name, value in os.environ.items()
        if any(word in name.upper() for word in WORDS)
    ]
    with suppress(OSError, netrc.NetrcParseError):
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
        candidates += [(f"netrc {host}", password) for host, (_, _, password) in hosts.items()]
    secrets = [each for each in candidates if len(each[1]) >= MIN_LENGTH and not _is_path(each[1])]
    return sorted(secrets, key=lambda each: len(each[1]), reverse=True)


def _is_path(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # too long for a path
        return False
