"""Ask the user before a command ends or removes anything."""

from __future__ import annotations

import argparse


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`, which answers the question."""
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def confirms(question: str) -> bool:
    """Ask on the terminal; return False for any answer but yes."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
