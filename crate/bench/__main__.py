"""`python -m crate.bench`: how fast each part is, beside a reference, measured in one run.

No command imports torch before it runs.
"""

from __future__ import annotations

import sys

from crate.config.commandline.program import Program

COMMANDS = {
    "data": "crate.bench.data",
    "launch": "crate.bench.launch",
    "model": "crate.bench.model",
}
PROGRAM = Program(
    name="python -m crate.bench",
    purpose="Measure how fast each part is, beside a reference.",
    commands=COMMANDS,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
