"""What a command of the bench prints: tables, or JSON for programs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def show(values: dict[str, Any], tables: list[Table], *, as_json: bool) -> int:
    """Print measurements as JSON values or as tables; return 0."""
    if as_json:
        print(json.dumps(values, indent=2))
        return 0
    from crate.run.console import console

    for table in tables:
        console.print(table)
    return 0
