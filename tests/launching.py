"""Real processes of launch.py, for tests of what a user sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from crate.config.check import CHECKOUT

# A model that makes a step in milliseconds.
TINY = ("model.embed_dim=16", "model.depth=2", "model.num_heads=2", "model.patch_size=8")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(CHECKOUT / "launch.py"), *arguments]


def launch(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Runs launch.py to its end."""
    options = {"capture_output": True, "text": True, "timeout": 300} | options
    return subprocess.run(command(*arguments), **options)


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Starts launch.py, its output in one stream."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    )


def run_folder(outputs: Path) -> Path | None:
    """Returns the only run folder below `outputs`, if there is one."""
    folders = sorted((outputs / "runs").glob("*")) if (outputs / "runs").is_dir() else []
    assert len(folders) <= 1, folders
    return folders[0] if folders else None


def wait_for_step(process: subprocess.Popen[str], outputs: Path, step: int) -> None:
    """Waits until the run has logged `step` (train.log_every_steps=1) or has ended."""
    while process.poll() is None and logged_step(outputs) < step:
        time.sleep(0.001)


def logged_step(outputs: Path) -> int:
    folder = run_folder(outputs)
    if folder is None or not (folder / "metrics.jsonl").exists():
        return 0
    lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")
    return json.loads(lines[-2])["step"] if len(lines) > 1 else 0


def metrics(folder: Path) -> list[dict]:
    """Returns the lines of metrics.jsonl without the time, which no two runs share."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "time_s"} for row in rows]


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())
