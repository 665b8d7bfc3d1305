"""A program of commands, such as `python -m crate.sweep status`.

A program's table maps the name of each command to the path of its module, which provides what
`Command` names. Only the module of the command that was typed is imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

from crate.errors import UserError, close, shorten


class Command(Protocol):
    """What the module of a command provides."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the arguments of the command."""

    def run(self, arguments: argparse.Namespace, /) -> int:
        """Run the command; return its exit code. Raise UserError for a mistake of the user's."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UserError in place of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError with the mistake that argparse found."""
        raise UserError(message, fix=f"{self.prog} --help")

    @property
    def flags(self) -> list[str]:
        """The long flags that the parser takes."""
        return [flag for flag in self._option_string_actions if flag.startswith("--")]


@dataclass(frozen=True)
class Program:
    """A program and the table of its commands: name -> path of a module.

    `purpose` stands above the list of commands in the help, `notes` below it. The flags `before`,
    each followed by a value, may be typed before the command. The arguments of a command include
    its name, as `command`.
    """

    name: str
    purpose: str
    commands: Mapping[str, str]
    notes: str = ""
    before: Sequence[str] = ()

    def main(self, words: Sequence[str] | None = None) -> int:
        """Run the command that `words` name, by default the command line; return its exit code.

        Flags may stand anywhere. The exit code of a mistake is 2.
        """
        try:
            return self._run(sys.argv[1:] if words is None else list(words))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:  # `| head`
            sys.stdout = None  # so that nothing is flushed at exit
            return 0

    def _run(self, words: list[str]) -> int:
        name, others = self._split(words)
        if name is None:
            self._help_parser().parse_args(others)
            names = ", ".join(self.commands)
            raise UserError("no command was given", names, f"{self.name} --help")
        if name not in self.commands:
            raise self._unknown(name, others)
        command = self.command(name)
        return command.run(self._parse(name, command, others))

    def command(self, name: str) -> Command:
        """Return the module of a command."""
        return cast(Command, importlib.import_module(self.commands[name]))

    def _split(self, words: list[str]) -> tuple[str | None, list[str]]:
        """Return the first word that is neither a flag nor a flag's value, and all others."""
        for number, word in enumerate(words):
            if not word.startswith("-") and not (number and words[number - 1] in self.before):
                return word, words[:number] + words[number + 1 :]
        return None, words

    def _parse(self, name: str, command: Command, words: list[str]) -> argparse.Namespace:
        parser = self._parser(f"{self.name} {name}", command.HELP)
        parser.set_defaults(command=name)
        command.add_arguments(parser)
        arguments, unknown = parser.parse_known_intermixed_args(words)
        for word in unknown:
            allowed = close(word, parser.flags) or parser.flags
            fix = f"{self.name} {name} --help"
            raise UserError(f"{name} does not take {word}", shorten(allowed), fix)
        return arguments

    def _unknown(self, name: str, others: list[str]) -> UserError:
        """Return the error for a command that the table does not have."""
        given, allowed = f"there is no command {name}", shorten(self.commands)
        swapped = next((word for word in others if word in self.commands), None)
        similar = [f"{swapped} {name}"] if swapped else close(name, self.commands)
        if not similar:
            return UserError(given, allowed, f"{self.name} --help")
        given += f"; did you mean {similar[0]}?"
        return UserError(given, allowed, f"{self.name} {similar[0]}")

    def _help_parser(self) -> Parser:
        """Return the parser that prints the help of all commands."""
        helps = {name: self.command(name).HELP for name in self.commands}
        width = max(map(len, helps))
        lines = "\n".join(f"  {name:{width}}  {text}" for name, text in helps.items())
        parser = self._parser(self.name, f"{self.purpose}\n\ncommands:\n{lines}")
        parser.usage = f"{self.name} COMMAND ..."
        for flag in self.before:
            parser.add_argument(flag, metavar=flag.strip("-").upper(), help=argparse.SUPPRESS)
        return parser

    def _parser(self, prog: str, description: str) -> Parser:
        formatter = argparse.RawDescriptionHelpFormatter
        return Parser(prog, None, description, self.notes, formatter_class=formatter)
