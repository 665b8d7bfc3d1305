"""The command line, rewritten for Hydra: flags first, values by the type of their key."""

from __future__ import annotations

import sys

from crate.config.commandline.config_dir import config_dirs, options_by_group
from crate.config.commandline.diagnose import override_errors
from crate.config.commandline.flags import take_apart
from crate.config.commandline.overrides import normal
from crate.config.reference.keys import Key
from crate.errors import UserError, raise_all
from crate.paths import CONF as CONF

WITHOUT = ("experiment=null", "sweep=null")  # the defaults, which Hydra refuses as overrides


def read(arguments: list[str], launcher: dict[str, list[Key]]) -> list[str]:
    """Return the arguments for Hydra that mean what the user typed.

    `launcher` declares the keys of `hydra.launcher`. Raise UserError with all mistakes together if
    Hydra would miss one of them, or would print a whole page about it.
    """
    folders = [CONF, *config_dirs(arguments)]
    groups = options_by_group(folders)
    words = take_apart(arguments, groups)
    errors, overrides = list(words.errors), []
    missing = [folder for folder in folders if not folder.is_dir()]
    for folder in missing:
        given = f"--config-dir: there is no folder {folder}"
        errors.append(UserError(given, fix="--config-dir FOLDER"))
    chosen = {group for group in groups if (CONF / group).is_dir()} | {"sweep"}
    for text in words.overrides:
        if text.lstrip("+") in WITHOUT:
            continue
        try:
            _require_own_launcher(text)
            overrides.append(normal(text, chosen, launcher))
        except UserError as error:
            errors.append(error)
    if errors and not missing:
        errors += override_errors(overrides, folders, words.multirun)
    raise_all(errors)
    return [*words.flags, *overrides]


def _require_own_launcher(text: str) -> None:
    """Raise UserError for the launchers of Hydra's submitit plugin, which may be installed too.

    They run the code and YAML that exist when a job starts, and report a failed job as done.
    """
    key, _, name = text.partition("=")
    if key.strip("+") == "hydra/launcher" and name.startswith("submitit_"):
        ours = name.removeprefix("submitit_")
        names = sorted(file.stem for file in (CONF / "hydra" / "launcher").glob("*.yaml"))
        raise UserError(
            f"{text}: the launchers submitit_* are another plugin's, not this project's",
            ", ".join(names),
            f"hydra/launcher={ours if ours in names else 'slurm'}",
        )


def require_no_launcher(overrides: list[str]) -> None:
    """Raise UserError if a single run was given options that only a sweep reads."""
    for text in overrides:
        if text.startswith(("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper")):
            raise UserError(
                f"{text} is for a sweep, and this is a single run",
                "a sweep of one point or more",
                "python launch.py -m ..., or sweep=NAME",
            )


def add_config_dir_to_path(arguments: list[str]) -> None:
    """Make the modules in the folder given as `--config-dir` importable, for a `_target_`."""
    for folder in config_dirs(arguments):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
