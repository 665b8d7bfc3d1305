"""Checks of a request against its rules and this machine, before torch is imported."""

from __future__ import annotations

from omegaconf import DictConfig

from crate.config.checks.rules import typed_rule_errors
from crate.config.schema import Config
from crate.errors import UserError, raise_all
from crate.ranks import Ranks, ReportedByRank0
from crate.run.machine import device_errors


def require_startable(config: Config, ranks: Ranks) -> None:
    """Raise UserError if these processes cannot train `config`.

    One process of each machine shows the error; the others raise ReportedByRank0.
    """
    errors = device_errors(config.device, ranks.size, ranks.local_size)
    if config.ranks not in (None, ranks.size):
        errors.append(
            UserError(
                f"ranks={config.ranks}, and {ranks.size} process(es) were started",
                "as many processes as ranks",
                f"torchrun --nproc_per_node={config.ranks} launch.py ... on one machine",
            )
        )
    if config.train.batch_size < ranks.size:
        errors.append(
            UserError(
                f"train.batch_size={config.train.batch_size} is less than the {ranks.size} ranks",
                "one image or more for each rank",
                f"train.batch_size={ranks.size}",
            )
        )
    if errors and ranks.local_rank > 0:
        raise ReportedByRank0(str(errors[0]))
    raise_all(errors)


def require_readable(cfg: DictConfig, overrides: list[str]) -> None:
    """Raise UserError for values in `overrides`, typed beside a checkpoint, that break a rule."""
    raise_all(typed_rule_errors(cfg, overrides))


def require_device(cfg: DictConfig, overrides: list[str], ranks: Ranks) -> None:
    """Raise UserError if this machine lacks the device that was typed beside a checkpoint."""
    if "device" in {text.lstrip("+").partition("=")[0] for text in overrides}:
        raise_all(device_errors(cfg.device, ranks.size, ranks.local_size))
