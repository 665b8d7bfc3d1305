"""`python -m crate.sweep`: the state, the results and the care of sweeps. Imports no torch."""

from __future__ import annotations

import sys

from crate.config.commandline.program import Program
from crate.sweep.commands import COMMANDS

NOTES = """\
NAME is the name of a sweep, or of its folder. RUN selects runs by their values, such as
model.sparsity=0.1 or sparsity=0.1 seed=0, or by the start of a signature; the default is all runs.
--outputs FOLDER reads the sweeps of another folder than outputs/ of the checkout.
Exit codes: 0 success, 1 a run has ended without finishing, 2 a mistake on the command line.
"""
PROGRAM = Program(
    name="python -m crate.sweep",
    purpose="Show the state and the results of sweeps, and manage their runs.",
    commands=COMMANDS,
    notes=NOTES,
    before=("--outputs",),
)


def main(words: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return PROGRAM.main(words)


if __name__ == "__main__":
    sys.exit(main())
