"""The identity of a training run: its complete configuration, its data and its initial weights.

Single runs and sweeps identify a run in the same way, so both find the same folder. Imports no
torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from crate.config import check
from crate.config.schema import Config
from crate.config.signature import signature
from crate.data import facts
from crate.data.completion import complete
from crate.errors import raise_all
from crate.run.secrets import leaking_names
from crate.tasks.checkpoint.file import require_checkpoint


@dataclass(frozen=True)
class Run:
    """An identified training run.

    `config` is its checked configuration, `signature` that of `signature_of`, `label` the readable
    part of its folder's name, `overrides` what was typed.
    """

    config: Config
    signature: str
    label: str
    overrides: list[str]


def prepare(cfg: DictConfig) -> Config:
    """Return a composed configuration, completed from the data, checked and typed.

    Raise UserError for all mistakes together.
    """
    config = check.typed(cfg, complete(cfg) + leaking_names(cfg))
    raise_all(facts.split_errors(config.data))
    return config


def signature_of(config: Config) -> str:
    """Return the signature of a checked configuration, its data and its initial weights.

    Raise UserError if `init_from` cannot be a checkpoint.
    """
    weights = None
    if config.init_from:
        require_checkpoint(Path(config.init_from), "init_from")
        weights = file_hash(config.init_from)
    return signature(config, facts.identity(config.data), weights)


@cache
def file_hash(path: str) -> str:
    """Return the hash of a file's content (SHA-256, hexadecimal), read once in this process."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget() -> None:
    """Forget what this process knows of data and weights, as the files may have changed since."""
    facts.forget()
    file_hash.cache_clear()
