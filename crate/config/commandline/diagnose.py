"""Every mistake of a command line that Hydra refuses, where Hydra alone names only the first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from crate.config.checks.tree import unresolved
from crate.config.checks.unknown import unknown_key
from crate.config.commandline.choices import option_errors, unreadable
from crate.config.commandline.config_dir import config_dirs, options_by_group
from crate.config.commandline.misfits import misfits
from crate.errors import UserError, UserErrors
from crate.paths import CONF


def explain(error: Exception, arguments: list[str]) -> UserError:
    """Return every mistake of Hydra's `arguments` at once; `error` is what Hydra stopped at."""
    from hydra._internal.utils import get_args_parser

    if isinstance(error, UserError):
        return error
    given = get_args_parser().parse_args(arguments)
    folders = [CONF, *config_dirs(arguments)]
    return explain_overrides(error, given.overrides, folders, given.multirun)


def explain_overrides(
    error: Exception, overrides: list[str], folders: list[Path], multirun: bool = True
) -> UserError:
    """Return every mistake of `overrides` at once; `error` is what Hydra stopped at.

    `folders` hold the YAML files of the groups. Several values are a mistake without `multirun`.
    """
    if isinstance(error, UserError):
        return error
    errors = override_errors(overrides, folders, multirun)
    if not errors:
        return _condensed(error)
    return errors[0] if len(errors) == 1 else UserErrors(errors)


def override_errors(overrides: list[str], folders: list[Path], multirun: bool) -> list[UserError]:
    """Return the mistakes of all overrides; none if the diagnosis itself fails."""
    try:
        return list(_override_errors(overrides, folders, multirun))
    except Exception:  # it must not hide what it diagnoses
        return []


def _override_errors(
    overrides: list[str], folders: list[Path], multirun: bool
) -> Iterator[UserError]:
    groups = options_by_group(folders)
    multirun = multirun or any(map(_chooses_sweep, overrides))
    parser, choices, values = OverridesParser.create(), [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            yield unreadable(text, groups)
            continue
        key = override.key_or_group
        if key in groups and not override.is_delete():
            errors = list(option_errors(override, groups[key]))
            yield from errors
            if not errors and not override.is_sweep_override():
                choices.append(text)
        elif not key.startswith("hydra"):
            values.append(override)
        if override.is_sweep_override() and not multirun:
            yield UserError(
                f"{text} has several values, and this is a single run",
                "one value, or a sweep over them all",
                f"python launch.py -m {text} ...",
            )
    cfg = _compose(choices, folders)
    for override in values:
        if not override.is_delete():
            yield from misfits(cfg, override, groups)


def _chooses_sweep(text: str) -> bool:
    """Return whether an override asks for several runs, as the flag -m does."""
    pattern = r"\+*(sweep=(?!null$)|hydra\.mode=multirun)"
    return re.match(pattern, text, re.IGNORECASE) is not None


def _compose(choices: list[str], folders: list[Path]) -> DictConfig:
    """Return the tree of the chosen groups, to which values can be applied one by one."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    extra = ",".join(f"file://{folder}" for folder in folders if folder != CONF)
    search = [f"hydra.searchpath=[{extra}]"] if extra else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=choices + search)


def _condensed(error: Exception) -> UserError:
    """Return one of Hydra's messages, which run over a screen, condensed to what it is about."""
    causes = (error, error.__cause__, error.__context__)
    cause = next((each for each in causes if isinstance(each, OmegaConfBaseException)), error)
    if isinstance(cause, InterpolationResolutionError):
        return unresolved(str(cause.full_key), cause)
    if isinstance(cause, OmegaConfBaseException) and is_dataclass(cause.object_type):
        key, schema = str(cause.full_key), cause.object_type
        names = [entry.name for entry in fields(schema)]
        last = key.split(".")[-1]
        if last not in names:
            return unknown_key(key, names, key[: -len(last)])
        return UserError(f"{key}: {cause.msg or cause}".splitlines()[0], fix=f"{key}=VALUE")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UserError("\n  ".join(lines[:3]))
