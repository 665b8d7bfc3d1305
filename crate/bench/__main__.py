"""`python -m crate.bench COMMAND`: how fast each part is, beside a reference, in one run.

A command is a module with `HELP`, `add_arguments(parser)` and `run(arguments)`, which returns JSON
values and the tables that say the same; none imports torch before `run`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from crate.errors import UserError

COMMANDS = {
    "data": "crate.bench.data",
    "launch": "crate.bench.launch",
    "model": "crate.bench.model",
}


def main() -> int:
    """Measures what the command line asks for, and prints it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m crate.bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, path in COMMANDS.items():
        module = importlib.import_module(path)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        command.add_argument("--json", action="store_true", help="JSON instead of tables")
        module.add_arguments(command)
    arguments = parser.parse_args()
    try:
        values, tables = importlib.import_module(COMMANDS[arguments.command]).run(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(values, indent=2))
        return 0
    from crate.run.console import console

    for table in tables:
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
