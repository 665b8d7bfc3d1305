"""`python -m crate.sweep`: what sweeps do and what they found. Imports no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from crate.errors import UserError, nearest, shorten
from crate.paths import CHECKOUT
from crate.sweep.stored.folder import find_sweep

PROGRAM = "python -m crate.sweep"
EPILOG = """\
NAME is a sweep's name, or that of its folder. RUN selects runs by their values, such as
model.sparsity=0.1 or sparsity=0.1 seed=0, or by the start of a signature; without it, all runs.
Exit codes: 0 all is well, 1 a run has ended unfinished, 2 a mistake on the command line.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are shown as all others of the project."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError with what argparse found wrong."""
        raise UserError(message, fix=f"{self.prog} --help")


def parsers() -> dict[str, Parser]:
    """Return the parser of each command, in the order in which the help lists them."""
    commands: dict[str, Parser] = {}

    def add(name: str, help: str, *, takes_name: bool = True, runs: bool = False) -> Parser:
        command = commands[name] = Parser(f"{PROGRAM} {name}", description=help, epilog=EPILOG)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        _add_outputs(command)
        if takes_name:
            command.add_argument("sweep", metavar="NAME", nargs="?")
        if runs:
            command.add_argument("runs", metavar="RUN", nargs="*")
        return command

    add("list", "every sweep, and how far it is", takes_name=False)
    status = add("status", "what each run does", runs=True)
    status.add_argument("--watch", action="store_true", help="until all have ended")
    status.add_argument("--json", action="store_true", help="for programs")
    tail = add("tail", "the last lines that runs said", runs=True)
    tail.add_argument("-n", type=int, default=5, metavar="LINES", help="how many (5)")
    tail.add_argument("-f", "--follow", action="store_true", help="and what comes, until Ctrl-C")
    add("logs", "all that runs said, their jobs' own files too", runs=True)
    add("path", "the folder of the sweep, or of runs", runs=True)
    results = add(
        "results", "what was found: last and best, mean and standard error over seeds", runs=True
    )
    results.add_argument("--json", dest="form", action="store_const", const="json", default="table")
    results.add_argument("--csv", dest="form", action="store_const", const="csv")
    cancel = add("cancel", "end runs, which save first", runs=True)
    retry = add("retry", "run again what did not finish, as it was frozen", runs=True)
    retry.add_argument("--failed", action="store_true", help="only what failed, or was killed")
    retry.add_argument("--lost", action="store_true", help="only what no job knows of any more")
    retry.add_argument("--new-code", action="store_true", help="by the checkout as it is now")
    clean = add("clean", "remove a sweep; without NAME what no sweep needs")
    for command in (cancel, clean):
        command.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add("sync", "upload what was logged offline to Weights & Biases", runs=True)
    return commands


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the parsed command line; flags, `--outputs` included, may stand anywhere.

    Raises UserError for an unknown command, which suggests the nearest, and for an unknown flag.
    """
    commands = parsers()
    name, rest = _command_and_rest(arguments)
    if name is None:
        _overview(commands).parse_args(rest)
        raise UserError(
            "which command?", ", ".join(commands), f"{PROGRAM} list, or {PROGRAM} --help"
        )
    if name not in commands:
        swapped = next((word for word in rest if word in commands), None)
        ranked = nearest(swapped or name, commands)
        fix = f"{swapped} {name}" if swapped else ranked[0]
        given = f"there is no command {name}; did you mean {fix}?"
        raise UserError(given, shorten(ranked), f"{PROGRAM} {fix}")
    typed, unknown = commands[name].parse_known_intermixed_args(rest)
    for word in unknown:
        flags = [flag for flag in commands[name]._option_string_actions if flag.startswith("--")]
        ranked = nearest(word, flags)
        given = f"{name} does not take {word}"
        raise UserError(given, shorten(ranked), f"{PROGRAM} {name} --help")
    if name not in ("list", "clean") and typed.sweep is None:
        raise UserError(
            f"{name} of which sweep?", f"one that {PROGRAM} list names", f"{PROGRAM} {name} NAME"
        )
    typed.command, typed.outputs = name, typed.outputs.expanduser().absolute()
    return typed


def _command_and_rest(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the first word that is neither a flag nor a flag's value, and all others."""
    for number, word in enumerate(arguments):
        before = arguments[number - 1] if number else ""
        if not word.startswith("-") and before != "--outputs":
            return word, arguments[:number] + arguments[number + 1 :]
    return None, arguments


def _overview(commands: dict[str, Parser]) -> Parser:
    """Return the parser that prints the help of all commands."""
    lines = "\n".join(f"  {name:9} {command.description}" for name, command in commands.items())
    whole = Parser(
        PROGRAM,
        f"{PROGRAM} COMMAND ... [--outputs FOLDER]",
        f"What sweeps do, and what they found.\n\ncommands:\n{lines}",
        EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_outputs(whole)
    return whole


def _add_outputs(command: Parser) -> None:
    command.add_argument(
        "--outputs", type=Path, default=CHECKOUT / "outputs", help="where the runs are: outputs="
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        return _run(parse(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head`
        sys.stdout = None
        return 0


def _run(typed: argparse.Namespace) -> int:
    if typed.command == "list":
        from crate.sweep.commands.show import show_list

        return show_list(typed.outputs)
    if typed.command == "clean" and typed.sweep is None:
        from crate.sweep.commands.clean import clean

        return clean(typed.outputs, yes=typed.yes)
    sweep = find_sweep(typed.outputs, typed.sweep)
    if typed.command == "results":
        from crate.sweep.terminal.results import show_results

        return show_results(sweep, typed.runs, form=typed.form)
    if typed.command == "cancel":
        from crate.sweep.commands.cancel import cancel

        return cancel(sweep, typed.runs, yes=typed.yes)
    if typed.command == "retry":
        return _retry(sweep, typed)
    if typed.command == "clean":
        from crate.sweep.commands.clean import clean_sweep

        return clean_sweep(sweep, yes=typed.yes)
    if typed.command == "sync":
        from crate.sweep.commands.sync import sync

        return sync(sweep, typed.runs)
    from crate.sweep.commands import show

    if typed.command == "status":
        return show.show_status(sweep, typed.runs, watch=typed.watch, as_json=typed.json)
    if typed.command == "path":
        return show.show_path(sweep, typed.runs)
    lines = typed.n if typed.command == "tail" else None
    follow = typed.command == "tail" and typed.follow
    return show.show_logs(sweep, typed.runs, lines=lines, follow=follow)


def _retry(sweep, typed: argparse.Namespace) -> int:
    from crate.sweep.commands import retry
    from crate.sweep.state import UNFINISHED

    chosen = (retry.FAILED if typed.failed else ()) + (retry.LOST if typed.lost else ())
    return retry.retry(sweep, typed.runs, chosen or UNFINISHED, new_code=typed.new_code)


if __name__ == "__main__":
    sys.exit(main())
