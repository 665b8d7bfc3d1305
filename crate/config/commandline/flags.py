"""The flags of a command line: those of Hydra, and for any other the override to type instead."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections import deque
from dataclasses import dataclass, field

from crate.config.reference.keys import declared
from crate.errors import UserError, close

# Flags of the authors' scripts and symbols of the paper -> key, where the names differ.
ALIASES = {
    "arch": "model",
    "net": "model",
    "opt": "optimizer",
    "n_epochs": "train.epochs",
    "bs": "train.batch_size",
    "print_freq": "train.log_every_steps",
    "ckpt_dir": "init_from",
    "data_dir": "data.root",
    "learning_rate": "optimizer.lr",
    "lambda": "model.sparsity",
    "eta": "model.step_size",
}
ALIKE = 0.7  # least similarity (difflib); below it, a guess misleads more than it helps


@dataclass
class Words:
    """The parts of a command line: Hydra's flags with their values, overrides, and mistakes."""

    flags: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    multirun: bool = False
    errors: list[UserError] = field(default_factory=list)


def take_apart(arguments: list[str], groups: dict[str, list[str]]) -> Words:
    """Return the flags and the overrides of a command line, which may come in any order.

    `groups` holds the options of each group, to suggest one for a flag that Hydra does not have.
    """
    from hydra._internal.utils import get_args_parser

    parser, words, remaining = get_args_parser(), Words(), deque(arguments)
    unknown: dict[str, str] = {}
    while remaining:
        word = remaining.popleft()
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.overrides.append(word)
        elif (action := _action(parser, name)) is not None:
            words.multirun |= action.dest == "multirun"
            if not equals and remaining and _takes(action, remaining[0]):
                words.flags += [word, remaining.popleft()]
            elif not equals and action.nargs == "?":  # it would take the override that follows
                words.flags.append(f"{max(action.option_strings, key=len)}={action.const}")
            else:
                words.flags.append(word)
        else:
            if (
                not equals
                and remaining
                and not remaining[0].startswith("-")
                and "=" not in remaining[0]
            ):
                value = remaining.popleft()
            unknown[name] = value
    words.errors += _misused(parser, words.flags) + _unknown(parser, unknown, groups)
    return words


def _action(parser: ArgumentParser, name: str) -> Action | None:
    """Return the action of a flag, which may be shortened; None if it is unknown or ambiguous."""
    actions = parser._option_string_actions
    if name in actions or not name.startswith("--"):
        return actions.get(name)
    meant = {id(action): action for flag, action in actions.items() if flag.startswith(name)}
    return next(iter(meant.values())) if len(meant) == 1 else None


def _takes(action: Action, following: str) -> bool:
    """Return whether a flag's value is the word that follows it."""
    if action.nargs == "?":
        return following in (action.choices or ())
    return action.nargs != 0


def _misused(parser: ArgumentParser, flags: list[str]) -> list[UserError]:
    """Return the error of a flag that lacks its value, or has one that it does not take."""

    def refuse(message: str) -> None:
        message = message.replace("argument ", "", 1)
        flag = message.partition(":")[0].partition("/")[0]
        choices = getattr(parser._option_string_actions.get(flag), "choices", None) or ["VALUE"]
        raise UserError(message, fix=f"{flag} {choices[0]}")

    parser.error = refuse  # type: ignore[method-assign,assignment]
    try:
        parser.parse_args([flag for flag in flags if flag != "--version"])
    except UserError as error:
        return [error]
    return []


def _unknown(
    parser: ArgumentParser, flags: dict[str, str], groups: dict[str, list[str]]
) -> list[UserError]:
    """Return one error for all flags that Hydra lacks, with the overrides to type instead."""
    if not flags:
        return []
    ours = sorted(flag for flag in parser._option_string_actions if flag.startswith("--"))
    fixes = []
    for flag, value in flags.items():
        slips = close(flag, ours, ALIKE)
        name = flag.lstrip("-").replace("-", "_")
        fixes.append(slips[0] if slips else _override(name, value, groups) or "KEY=VALUE")
    what = "is no flag" if len(flags) == 1 else "are no flags"
    return [
        UserError(
            f"{', '.join(flags)} {what} of launch.py",
            "KEY=VALUE, without dashes; python launch.py --hydra-help lists the flags of Hydra",
            " ".join(fixes),
        )
    ]


def _override(name: str, value: str, groups: dict[str, list[str]]) -> str | None:
    """Return the override that a flag such as `epochs`, `lr`, `arch` or `wandb` stands for."""
    keys = [key for key in declared() if not key.startswith(("sweep.", "data.suggested."))]
    by_last = {key.rpartition(".")[2]: key for key in reversed(keys)}
    options = {option: group for group, names in groups.items() for option in names}
    key = ALIASES.get(name) or (name if name in keys else by_last.get(name))
    if key is None and (slips := close(name, options, ALIKE)):
        return f"{options[slips[0]]}={slips[0]}"
    if key is None:
        slips = [last for last in by_last if last.startswith(name)] or close(name, by_last, ALIKE)
        key = by_last[slips[0]] if slips else None
    if key is None:
        return None
    if value.lower() in groups.get(key, ()):
        return f"{key}={value.lower()}"
    if key == "data" and value:  # the authors' --data names a folder
        return f"data=imagefolder data.root={value}"
    return f"{key}={value or 'VALUE'}"
