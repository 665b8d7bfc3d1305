"""Real processes of launch.py, for tests of what a user sees.

`run` starts a new interpreter, as a user does. `launch` and `start` fork a process from a server
that has torch, Hydra and others imported already, which saves seconds a process; what runs in it is
launch.py all the same, and it dies of signals all the same.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from crate.paths import CHECKOUT

# A model that makes a step in milliseconds, and 23 steps an epoch.
TINY = (
    "model.embed_dim=16",
    "model.depth=2",
    "model.num_heads=2",
    "model.patch_size=8",
    "train.batch_size=64",
)

LAUNCH = str(CHECKOUT / "launch.py")
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "torch",
        "torch._dynamo",
        "torchvision",
        "timm",
        "sklearn.datasets",
        "matplotlib.pyplot",
        "hydra",
        "hydra.core.override_parser.overrides_parser",
        "rich.console",
    ]
)


@dataclass
class Done:
    """The output of a process and its exit code, which is negative for a signal that killed it."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: str) -> list[str]:
    return [sys.executable, LAUNCH, *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run launch.py in a new interpreter to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)


class Process:
    """launch.py in a forked process, whose output goes to files."""

    def __init__(
        self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], torch: bool
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.out, self.err = (Path(self._folder.name, name) for name in ("out", "err"))
        self.out.touch()  # a test may look before the process has begun
        target = (arguments, str(cwd), dict(os.environ) | environment, self.out, self.err, torch)
        self._process = _server.Process(target=_launch, args=target)
        self._process.start()
        self.pid = self._process.pid

    def is_running(self) -> bool:
        return self._process.is_alive()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def finish(self, timeout: float = 300) -> Done:
        """Wait for the end; kill the process after `timeout` (seconds), and then fail."""
        self._process.join(timeout)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            raise AssertionError(f"still running after {timeout} s:\n{self.out.read_text()}")
        return Done(self._process.exitcode, self.out.read_text(), self.err.read_text())


def _launch(
    arguments: tuple, cwd: str, environment: dict, out: Path, err: Path, torch: bool
) -> None:
    for descriptor, path in ((1, out), (2, err)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not torch:
        sys.modules["torch"] = None  # which makes every import of it fail
    sys.argv, sys.path[0] = [LAUNCH, *arguments], str(CHECKOUT)
    runpy.run_path(LAUNCH, run_name="__main__")


def start(*arguments: str, cwd: Path = CHECKOUT, torch: bool = True, **environment: str) -> Process:
    """Start launch.py in a forked process; if `torch` is false, imports of torch fail in it."""
    return Process(arguments, cwd, environment, torch)


def launch(*arguments: str, cwd: Path = CHECKOUT, torch: bool = True, **environment: str) -> Done:
    """Run launch.py in a forked process to its end, as `start` does."""
    return start(*arguments, cwd=cwd, torch=torch, **environment).finish()


def start_ranks(*arguments: str, size: int = 2) -> list[Process]:
    """Start launch.py as `size` ranks, with the environment that torchrun gives them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
    return [
        start(
            *arguments,
            **address,
            RANK=str(rank),
            WORLD_SIZE=str(size),
            LOCAL_RANK=str(rank),
            LOCAL_WORLD_SIZE=str(size),
        )
        for rank in range(size)
    ]


def launch_ranks(*arguments: str, size: int = 2) -> list[Done]:
    """Run launch.py as `size` ranks to their end."""
    return [process.finish() for process in start_ranks(*arguments, size=size)]


def run_folder(outputs: Path) -> Path | None:
    """Return the only run folder below `outputs`, or None."""
    folders = sorted((outputs / "runs").glob("*")) if (outputs / "runs").is_dir() else []
    assert len(folders) <= 1, folders
    return folders[0] if folders else None


def wait_for_step(process: Process, outputs: Path, step: int) -> None:
    """Wait until the run has logged `step` (train.log_every_steps=1) or has ended."""
    while process.is_running() and logged_step(outputs) < step:
        time.sleep(0.001)


def logged_step(outputs: Path) -> int:
    folder = run_folder(outputs)
    if folder is None or not (folder / "metrics.jsonl").exists():
        return 0
    lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")
    return json.loads(lines[-2])["step"] if len(lines) > 1 else 0


def metrics(folder: Path) -> list[dict]:
    """Return the lines of metrics.jsonl without times and memory, which no two runs share."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    own = {"time_s", "images_per_s", "memory_gb", "remaining_s"}
    return [{key: value for key, value in row.items() if key not in own} for row in rows]


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())
