"""A local pool in the background: it goes on when its launch and the terminal are gone."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO

from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.run.console import say_on_console
from crate.run.records import read_json
from crate.sweep.launch.ending import say_end
from crate.sweep.launchers import local
from crate.sweep.options import Local
from crate.sweep.stored.folder import SweepFolder

logger = logging.getLogger("crate")
POLL_S = 0.05


def start(request: local.Request) -> None:
    """Start the pool that `request` asks for, and return once it has taken over its runs.

    Raises UserError if it ends before that.
    """
    heartbeat = request.heartbeat.path
    log = request.sweep.jobs / f"{heartbeat.stem}.out"
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "crate.sweep.launch.background"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            start_new_session=True,
        )
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(_to_json(request))
            process.stdin.close()
        while read_json(heartbeat).get("pid") != process.pid and process.poll() is None:
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        process.terminate()
        raise
    if process.returncode:
        raise UserError(
            f"the pool in the background ended with exit code {process.returncode}; see {log}",
            fix="hydra.launcher.wait=true",
        )
    logger.info("process %d runs them in the background; what it says: %s", process.pid, log)


def _to_json(request: local.Request) -> bytes:
    values = {
        "sweep": str(request.sweep.path),
        "heartbeat": str(request.heartbeat.path),
        "swept": request.swept,
        "todo": {key: str(code) for key, code in request.todo.items()},
        "options": asdict(request.options),
        "on_cpu": request.on_cpu,
    }
    return json.dumps(values).encode()


def _from_json(file: IO[str]) -> local.Request:
    values = json.load(file)
    return local.Request(
        SweepFolder(Path(values["sweep"])),
        local.Heartbeat(Path(values["heartbeat"])),
        values["swept"],
        {key: Path(code) for key, code in values["todo"].items()},
        Local(**values["options"]),
        values["on_cpu"],
    )


def main() -> None:
    """Run the pool that standard input asks for."""
    request = _from_json(sys.stdin)
    say_on_console(True)
    try:
        local.run_all(request)
        say_end(request.sweep, request.swept)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
