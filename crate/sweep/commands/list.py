"""`list`: every sweep with the states of its runs."""

from __future__ import annotations

import argparse
import time

from crate.run.console import console
from crate.sweep.commands.arguments import add_outputs
from crate.sweep.select import Selection
from crate.sweep.stored.manifest import Manifest
from crate.sweep.stored.outputs import sweeps
from crate.sweep.terminal.columns import Column, fitted
from crate.sweep.terminal.table import counts, duration

HELP = "list every sweep with the states of its runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_outputs(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a row for each sweep; return 0."""
    selections = [Selection(sweep, []) for sweep in sweeps(arguments.outputs)]
    if not selections:
        print(f"no sweep in {arguments.outputs} yet; type: python launch.py sweep=demo")
        return 0
    manifests = [selection.manifest for selection in selections]
    columns = [
        Column("sweep", [selection.sweep.path.name for selection in selections], moves=False),
        Column("runs", [counts(selection.states) for selection in selections], moves=False),
        Column("launched", [_launched(each) for each in manifests], moves=False),
        Column("fixed", [" ".join(each.fixed) for each in manifests], drop=2, is_text=True),
        Column("question", [each.question or "" for each in manifests], drop=1, is_text=True),
    ]
    console.print(fitted(columns, console.width))
    return 0


def _launched(manifest: Manifest) -> str:
    """Return how long ago the last launch was; `-` if the manifest has no launch."""
    if not manifest.launches:
        return "-"
    return f"{duration(time.time() - manifest.launches[-1].time)} ago"
