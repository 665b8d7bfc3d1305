"""Every mistake of a command line that Hydra refuses, where Hydra alone names only the first."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from crate.config.check import unresolved
from crate.config.commandline.config_dir import config_dirs, options_by_group
from crate.config.commandline.overrides import quote
from crate.config.own import is_own
from crate.config.reference.entries import allowed_in_words, kind_in_words
from crate.config.schema import SCHEMAS
from crate.config.target import not_own
from crate.config.unknown import absent_key, unknown_key
from crate.errors import UserError, UserErrors, nearest, shorten
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
        return _from_hydra(error)
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
            yield _unreadable(text, groups)
            continue
        key = override.key_or_group
        if key in groups and not override.is_delete():
            errors = list(_option_errors(override, groups[key]))
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
            yield from _misfit(cfg, override, groups)


def _chooses_sweep(text: str) -> bool:
    """Tell whether an override asks for several runs, as the flag -m does."""
    pattern = r"\+*(sweep=(?!null$)|hydra\.mode=multirun)"
    return re.match(pattern, text, re.IGNORECASE) is not None


def _unreadable(text: str, groups: dict[str, list[str]]) -> UserError:
    """Return the error for a text that is outside of Hydra's grammar."""
    key, equals, value = text.partition("=")
    if equals and value[:1] in ("[", "{", "("):
        return UserError(f"cannot read {text!r}", "brackets that close", f"'{key}=[A,B]'")
    if equals and key:
        allowed = "KEY=VALUE, with quotes around a value of unusual characters"
        fix = shlex.quote(f"{key}={quote(value, Quote.double)}")
        return UserError(f"cannot read {text!r}", allowed, fix)
    has_option = [group for group, options in groups.items() if text in options]
    fix = f"{has_option[0]}={text}" if has_option else "KEY=VALUE, without spaces around ="
    return UserError(f"cannot read {text!r}", "KEY=VALUE", fix)


def _option_errors(override: Override, options: list[str]) -> Iterator[UserError]:
    """Yield an error for each value of a group's override that is none of its options."""
    key, value = override.key_or_group, override.value()
    if isinstance(value, Glob):
        if not value.filter(options):
            yield UserError(f"{override.input_line} matches no option", shorten(options))
        return
    for option in map(str, _each_value(override)):
        if option in options:
            continue
        ranked = nearest(option, options)
        yield UserError(
            f"{key} has no option {option}; did you mean {key}={ranked[0]}?",
            shorten(ranked),
            f"{key}={ranked[0]}",
        )


def _each_value(override: Override) -> list[Any]:
    if not override.is_sweep_override():
        return [override.value()]
    values = list(override.sweep_iterator())
    return [value.text if isinstance(value, QuotedString) else value for value in values]


def _compose(choices: list[str], folders: list[Path]) -> DictConfig:
    """Return the tree of the chosen groups, to which values can be applied one by one."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    extra = ",".join(f"file://{folder}" for folder in folders if folder != CONF)
    search = [f"hydra.searchpath=[{extra}]"] if extra else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=choices + search)


def _misfit(
    cfg: DictConfig, override: Override, groups: dict[str, list[str]]
) -> Iterator[UserError]:
    """Yield the errors of an override whose key is unknown, or whose values do not fit."""
    key = override.key_or_group
    is_new = override.is_add() or override.is_force_add()
    *parents, name = key.split(".")
    if parents[:1] == ["sweep"] and cfg.sweep is None:
        given = f"{key} belongs to a sweep file, and none is chosen"
        yield UserError(given, "sweep=NAME, or -m KEY=A,B without a file", "sweep=NAME ...")
        return
    node: Any = cfg
    for depth, part in enumerate([*parents, name]):
        at = "".join(f"{each}." for each in parents[:depth])
        schema = OmegaConf.get_type(node) if OmegaConf.is_config(node) else None
        lacks_part = OmegaConf.is_dict(node) and part not in list(node)  # "???" counts as there
        group = parents[0] if depth else ""
        if lacks_part and group in SCHEMAS and is_own(cfg[group]):
            return  # an argument of the user's own target
        if is_dataclass(schema) and lacks_part:
            names = [entry.name for entry in fields(schema)]
            if not at:
                names = list(dict.fromkeys([*(g for g in groups if "/" not in g), *names]))
            yield absent_key(cfg, key, names, at)
            return
        if lacks_part:  # an entry of a dictionary
            if group in SCHEMAS:
                yield not_own(group)
            return
        if depth < len(parents):
            node = node._get_node(part)
    for value in _each_value(override):
        try:
            OmegaConf.update(cfg.copy(), key, value, force_add=is_new)
        except OmegaConfBaseException as error:
            kind = _kind(cfg, parents, name)
            reason = "null is not a value" if value is None else str(error).splitlines()[0]
            given = "null" if value is None else value
            yield UserError(f"{key}={given}: {reason}", kind, f"{key}=VALUE")


def _kind(cfg: DictConfig, parents: list[str], name: str) -> str | None:
    """Return in words what a field takes; None if its node has no schema."""
    schema = OmegaConf.get_type(OmegaConf.select(cfg, ".".join(parents)) if parents else cfg)
    if not is_dataclass(schema):
        return None
    kind = get_type_hints(schema)[name]
    if is_dataclass(kind):
        return "its keys, " + shorten((f"{name}.{entry.name}" for entry in fields(kind)), 6)
    rules = schema.__dataclass_fields__[name].metadata
    if rules.get("choices"):
        return allowed_in_words(rules)
    words = kind_in_words(kind, rules)
    return f"a {words}" if words.startswith(("whole", "number", "list", "path")) else words


def _from_hydra(error: Exception) -> UserError:
    """Condense one of Hydra's messages, which run over a screen, to what it is about."""
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
