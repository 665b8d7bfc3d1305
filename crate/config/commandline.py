"""Says what is wrong with a command line, where Hydra alone would name only the first fault."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config.check import key_elsewhere, unknown_key
from crate.config.errors import UserError, UserErrors, nearest, shorten
from crate.paths import CONF as CONF

OPTIONAL_GROUPS = ("experiment", "sweep")


def add_config_dir_to_path(arguments: list[str]) -> None:
    """Lets a user's `_target_` name modules that lie in the folder given as `--config-dir`."""
    for folder in config_dirs(arguments):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def check_flags(arguments: list[str]) -> None:
    """Raises UserError for a `--flag` that Hydra does not know; its own message is a page long."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> None:
        unknown = [word.split("=")[0] for word in arguments if word.startswith("-")]
        unknown = [word for word in unknown if word not in flags]
        if not unknown:  # argparse takes no flag between two overrides
            fix = "every --flag first, then KEY=VALUE ..."
            raise UserError(message, "flags before or after the overrides", fix)
        name = unknown[0].lstrip("-").replace("-", "_")
        raise UserError(
            f"{unknown[0]} is no flag",
            shorten(sorted(flag for flag in flags if flag.startswith("--")), 20),
            f"{name}=VALUE, without dashes",
        )

    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.parse_args(arguments)
    for folder in config_dirs(arguments):
        if not folder.is_dir():
            raise UserError(f"--config-dir: there is no folder {folder}", fix="--config-dir FOLDER")


def check_launcher(arguments: list[str]) -> None:
    """Raises UserError for the launchers of Hydra's own plugin, where that is installed too.

    They take code and YAML as these are when a job starts, and call a failed job done.
    """
    for text in arguments:
        key, _, name = text.partition("=")
        if key.strip("+") == "hydra/launcher" and name.startswith("submitit_"):
            ours = name.removeprefix("submitit_")
            raise UserError(
                f"{text}: the launchers submitit_* are another plugin's, not this project's",
                "local, slurm",
                f"hydra/launcher={ours if ours in ('local', 'slurm') else 'slurm'}",
            )


def require_no_launcher(overrides: list[str]) -> None:
    """Raises UserError where a single run was given options that only a sweep reads."""
    for text in overrides:
        if text.startswith(("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper")):
            raise UserError(
                f"{text} is for a sweep, and this is a single run",
                "a sweep of one point or more",
                "python launch.py -m ..., or sweep=NAME",
            )


def explain(error: Exception, arguments: list[str]) -> UserError:
    """Returns every mistake on the command line at once; `error` is what Hydra stopped at."""
    if isinstance(error, UserError):
        return error
    try:
        found = list(_override_errors(arguments))
    except Exception:  # the diagnosis must not hide what it diagnoses
        found = []
    if not found:
        return _from_hydra(error)
    return found[0] if len(found) == 1 else UserErrors(found)


def _overrides(arguments: list[str]) -> list[str]:
    from hydra._internal.utils import get_args_parser

    return list(get_args_parser().parse_args(arguments).overrides)


def config_dirs(arguments: list[str]) -> list[Path]:
    """Returns the folder given as `--config-dir FOLDER`, `--config-dir=FOLDER` or `-cd FOLDER`."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            return [Path(value or following).absolute()]
    return []


def _groups(folders: list[Path]) -> dict[str, list[str]]:
    """Returns the options of each group: the YAML files below `folders`, and the sweeps."""
    from hydra.core.config_store import ConfigStore

    groups: dict[str, list[str]] = {}
    for folder in folders:
        for file in sorted(folder.glob("*/**/*.yaml")):
            group = file.parent.relative_to(folder).as_posix()
            groups.setdefault(group, []).append(file.stem)
    sweeps = ConfigStore.instance().repo.get("sweep", {})  # registered from sweeps/*.yaml
    return groups | {"sweep": [Path(name).stem for name in sweeps]}


def _override_errors(arguments: list[str]) -> Iterator[UserError]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    extra = config_dirs(arguments)
    groups = _groups([CONF, *extra])
    parser, choices, values = OverridesParser.create(), [], []
    for text in _overrides(arguments):
        try:
            override = parser.parse_override(text)
        except HydraException:
            yield UserError(
                f"cannot read {text!r}", "KEY=VALUE", "KEY='VALUE', quoted for the shell"
            )
            continue
        key = override.key_or_group
        if key in groups and not override.is_delete():
            options = [str(option) for option in _each_value(override)]
            unknown = [option for option in options if option not in groups[key]]
            unknown = [o for o in unknown if not (o == "None" and key in OPTIONAL_GROUPS)]
            for option in unknown:
                ranked = nearest(option, groups[key])
                yield UserError(
                    f"{key} has no option {option}; did you mean {key}={ranked[0]}?",
                    shorten(ranked),
                    f"{key}={ranked[0]}",
                )
            if not unknown and not override.is_sweep_override():
                choices.append(text)
        elif not key.startswith("hydra"):
            values.append(override)
    yield from _value_errors(values, choices, list(groups), extra)


def _each_value(override: Any) -> list[Any]:
    return list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]


def _value_errors(
    overrides: list[Any], choices: list[str], groups: list[str], extra: list[Path]
) -> Iterator[UserError]:
    """Applies each value to the tree of the chosen groups, and says which ones do not fit."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in extra)}]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=choices + (search if extra else []))
    for override in overrides:
        key = override.key_or_group
        if not override.is_delete():
            yield from _misfit(cfg, key, _each_value(override), groups)


def _misfit(cfg: DictConfig, key: str, values: list[Any], groups: list[str]) -> Iterator[UserError]:
    *parents, name = key.split(".")
    node: Any = cfg
    for depth, parent in enumerate([*parents, name]):
        schema = OmegaConf.get_type(node) if OmegaConf.is_config(node) else None
        if is_dataclass(schema) and parent not in node:
            at = "".join(f"{part}." for part in parents[:depth])
            yield _unknown(cfg, key, [entry.name for entry in fields(schema)], at, groups)
            return
        if depth < len(parents):
            node = node._get_node(parent)
    for value in values:
        try:
            OmegaConf.update(cfg.copy(), key, value)
        except OmegaConfBaseException as error:
            kind = _kind(cfg, parents, name)
            yield UserError(f"{key}={value}: {str(error).splitlines()[0]}", kind, f"{key}=VALUE")


def _unknown(cfg: DictConfig, key: str, names: list[str], at: str, groups: list[str]) -> UserError:
    if (error := key_elsewhere(cfg, key)) is not None:
        return error
    if not at:
        names = list(dict.fromkeys([*(g for g in groups if "/" not in g), *names]))
    part = key[len(at) :].split(".")[0]
    return unknown_key(f"{at}{part}", names, at)


def _kind(cfg: DictConfig, parents: list[str], name: str) -> str | None:
    """Returns in words what a field takes; None where its node has no schema."""
    schema = OmegaConf.get_type(OmegaConf.select(cfg, ".".join(parents)) if parents else cfg)
    if not is_dataclass(schema):
        return None
    kind = get_type_hints(schema)[name]
    if is_dataclass(kind):
        return "its keys, " + shorten((f"{name}.{entry.name}" for entry in fields(kind)), 6)
    inner = [part for part in get_args(kind) if part is not type(None)] or [kind]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    word = words.get(inner[0], "another value")
    if get_origin(kind) is list:
        return "a list of numbers"
    return f"{word}, or null" if type(None) in get_args(kind) else word


def _from_hydra(error: Exception) -> UserError:
    """Condenses one of Hydra's messages, which run over a screen, to what it is about."""
    causes = (error, error.__cause__, error.__context__)
    cause = next((each for each in causes if isinstance(each, OmegaConfBaseException)), error)
    if isinstance(cause, OmegaConfBaseException) and is_dataclass(cause.object_type):
        key, schema = str(cause.full_key), cause.object_type
        names = [entry.name for entry in fields(schema)]
        last = key.split(".")[-1]
        if last not in names:
            return unknown_key(key, names, key[: -len(last)])
        return UserError(f"{key}: {cause.msg or cause}".splitlines()[0], fix=f"{key}=VALUE")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UserError("\n  ".join(lines[:3]))
