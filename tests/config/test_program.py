"""A program is a table of commands: a new command is a module and a row, and mistakes are named."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import crate.bench.__main__ as bench
import crate.sweep.commands as sweep_commands
from crate.config.commandline.program import Program
from crate.paths import CHECKOUT
from crate.sweep.commands import COMMANDS

SHARED = {"__init__", "arguments", "confirm", "removal"}
GREET = """
HELP = "greet somebody"


def add_arguments(parser):
    parser.add_argument("who")
    parser.add_argument("--loud", action="store_true")


def run(arguments):
    print(f"{arguments.command} {arguments.who}{'!' * arguments.loud}")
    return 7
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a program with one command that works and one whose module cannot be imported."""
    (tmp_path / "greet_command.py").write_text(GREET)
    monkeypatch.syspath_prepend(tmp_path)
    return Program("prog", "Test.", {"greet": "greet_command", "broken": "no_such_module"})


def test_a_command_is_a_module_and_a_row(program, capsys):
    assert program.main(["greet", "--loud", "you"]) == 7
    assert capsys.readouterr().out == "greet you!\n"
    assert "no_such_module" not in sys.modules  # only the module of the typed command is imported


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["great"], "there is no command great; did you mean greet?"),
        (["you", "greet"], "type:    prog greet you"),
        (["zzz"], "there is no command zzz\n  allowed: greet, broken\n  type:    prog --help"),
        (["greet", "you", "--lout"], "greet does not take --lout\n  allowed: --loud"),
        (["greet"], "required: who\n  type:    prog greet --help"),
        ([], "no command was given\n  allowed: greet, broken"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(program, words, message, capsys, monkeypatch):
    monkeypatch.setitem(program.commands, "broken", "greet_command")
    assert program.main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("table", [COMMANDS, bench.COMMANDS], ids=["sweep", "bench"])
def test_every_row_is_a_command(table):
    for name, path in table.items():
        module = importlib.import_module(path)
        assert path.endswith(f".{name}") and module.HELP and module.run and module.add_arguments


def test_every_command_of_sweeps_has_a_row():
    (folder,) = sweep_commands.__path__
    modules = {file.stem for file in Path(folder).glob("*.py")}
    assert modules - SHARED == set(COMMANDS)


def test_a_command_does_not_import_the_others():
    code = (
        "import sys; from crate.sweep.__main__ import main; main(['list', '--outputs=/none']); "
        "print(*(name for name in sys.modules if name.startswith('crate.sweep.commands.')))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True)
    modules = {f"crate.sweep.commands.{name}" for name in ("list", "arguments")}
    assert set(done.stdout.splitlines()[-1].split()) == modules
