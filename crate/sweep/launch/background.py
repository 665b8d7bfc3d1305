"""A launcher's runs in the background: they go on when their launch and the terminal are gone."""

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
from crate.sweep.launch.ending import say_end
from crate.sweep.launchers import launcher_named
from crate.sweep.launchers.heartbeat import pool_process
from crate.sweep.launchers.launcher import AnyLauncher, Request
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.terminal.watch import Watch

logger = logging.getLogger("crate")
POLL_S = 0.05


def start(launcher: AnyLauncher, request: Request) -> None:
    """Start a process that runs `request`, and return once it has taken over the runs.

    Raise UserError if it ends before that.
    """
    log = request.sweep.jobs / f"{request.pool.stem}.out"
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "crate.sweep.launch.background"],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(_to_json(launcher, request))
            process.stdin.close()
        while not _has_taken_over(process.pid, request.pool) and process.poll() is None:
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        process.terminate()
        raise
    if process.returncode:
        raise UserError(
            f"the pool in the background ended with exit code {process.returncode}; see {log}",
            fix="hydra.launcher.wait=true",
        )
    logger.info("process %d runs them in the background; its output: %s", process.pid, log)


def _has_taken_over(pid: int, heartbeat: Path) -> bool:
    owner = pool_process(heartbeat)
    return owner is not None and owner.pid == pid


def _to_json(launcher: AnyLauncher, request: Request) -> bytes:
    values = {
        "launcher": launcher.name,
        "options": asdict(launcher.options),
        "sweep": str(request.sweep.path),
        "swept": request.swept,
        "todo": {key: str(code) for key, code in request.todo.items()},
        "on_cpu": request.on_cpu,
        "pool": str(request.pool),
    }
    return json.dumps(values).encode()


def _from_json(file: IO[str]) -> tuple[AnyLauncher, Request]:
    values = json.load(file)
    kind = launcher_named(values["launcher"])
    request = Request(
        SweepFolder(Path(values["sweep"])),
        values["swept"],
        {key: Path(code) for key, code in values["todo"].items()},
        values["on_cpu"],
        Path(values["pool"]),
    )
    return kind(kind.options_type(**values["options"])), request


def main() -> None:
    """Run what standard input asks for."""
    launcher, request = _from_json(sys.stdin)
    say_on_console(True)
    try:
        launcher.run(request, Watch(request.swept, str(request.sweep.outputs)))
        say_end(request.sweep, request.swept)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
