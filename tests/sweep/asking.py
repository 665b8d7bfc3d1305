"""Run `python -m crate.sweep` as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from crate.paths import CHECKOUT
from tests.launching import metrics


def ask(
    outputs: Path, *words: str, answer: str = "", **environment: str
) -> subprocess.CompletedProcess:
    """Run a command to its end; type `answer` if it asks."""
    command = [sys.executable, "-m", "crate.sweep", f"--outputs={outputs}", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        input=answer,
        cwd=CHECKOUT,
        env=os.environ | environment,
        timeout=300,
    )


def states(outputs: Path, sweep: str, key: str = "seed", **environment: str) -> dict[str, str]:
    """Return the state of each run from `status`, by the value of one swept key."""
    done = ask(outputs, "status", sweep, "--json", **environment)
    assert done.returncode in (0, 1), done.stderr
    return {str(run["swept"][key]): run["state"] for run in json.loads(done.stdout).values()}


def wait_until(happened: Callable[[], object], timeout_s: float = 120) -> None:
    """Return once `happened` is true; fail if it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, f"{happened} is not true after {timeout_s} s"
        time.sleep(0.3)


def only_sweep(outputs: Path) -> str:
    """Return the name of the only sweep folder below `outputs`."""
    (folder,) = (file.parent for file in (outputs / "sweeps").glob("*/manifest.json"))
    return folder.name


def runs(outputs: Path) -> list[Path]:
    """Return every run folder below `outputs`."""
    return sorted((outputs / "runs").iterdir())


def by_seed(outputs: Path) -> dict[int, list[dict]]:
    """Return the logged metrics of each run, by its seed."""
    return {
        yaml.safe_load((run / "config.yaml").read_text())["seed"]: metrics(run)
        for run in runs(outputs)
    }
