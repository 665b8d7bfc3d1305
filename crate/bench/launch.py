"""How long a user waits: for small answers, for the first step, and for the second job of a sweep.

The two compiled jobs belong to one sweep and differ in lambda: the first compiles the layers, the
second reuses the compiled code. Each command runs as a user starts it, in a new process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from crate.bench.output import add_json, show
from crate.errors import UserError
from crate.paths import CHECKOUT

if TYPE_CHECKING:
    from rich.table import Table

HELP = "seconds to --help, to a composed configuration and to the first step"
ANSWERS = {
    "--help": ["--help"],
    "--cfg job": ["--cfg", "job"],
    "a plan of six runs": [
        "-m",
        "hydra.launcher.plan=true",
        "model.sparsity=0.01,0.1,1",
        "seed=0,1",
    ],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = __doc__
    add_json(parser)
    parser.add_argument("--rounds", type=int, default=5, help="how often each small command runs")
    parser.add_argument("--model", default="crate_tiny", help="the model of the compiled jobs")
    parser.add_argument("--batch-size", type=int, default=32, help="their images per step")


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print the result; return 0."""
    return show(*measure(arguments), as_json=arguments.json)


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Return the measurements as JSON values, and the tables that show them."""
    from crate.run.provenance import cpu_name

    seconds: dict[str, list[float]] = {name: [] for name in ANSWERS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name, words in ANSWERS.items():
                seconds[name].append(_answer([*words, f"outputs={folder}"]))
        default = [_first_step([], Path(folder, str(number))) for number in range(3)]
        jobs = _jobs(arguments, Path(folder, "sweep"))
    first, second = jobs["first job, compiling"], jobs["second job, another lambda"]
    values = {
        "hardware": cpu_name(),
        "answers_s": {name: median(each) for name, each in seconds.items()},
        "default_run_s": _medians(default),
        "compiled_jobs_s": jobs,
        "second_to_first": {key: second[key] / first[key] for key in first},
    }
    return values, [_table(values)]


def _answer(words: list[str]) -> float:
    """Return the seconds of a command."""
    started = time.monotonic()
    subprocess.run([sys.executable, "launch.py", *words], cwd=CHECKOUT, capture_output=True)
    return time.monotonic() - started


def _jobs(arguments: argparse.Namespace, outputs: Path) -> dict[str, dict[str, float]]:
    """Return the seconds of two compiled jobs, one after the other."""
    words = [f"model={arguments.model}", f"train.batch_size={arguments.batch_size}"]
    words += ["data.img_size=224", "model.patch_size=16", "train.compile=on"]
    return {
        "first job, compiling": _first_step([*words, "model.sparsity=0.1"], outputs),
        "second job, another lambda": _first_step([*words, "model.sparsity=0.3"], outputs),
    }


def _first_step(words: list[str], outputs: Path) -> dict[str, float]:
    """Start a run and end it after its first step; return the seconds to its end, and its own."""
    before = set(outputs.glob("runs/*"))
    environment = {name: text for name, text in os.environ.items() if "INDUCTOR" not in name}
    words = [*words, f"outputs={outputs}", "train.log_every_steps=1", "train.epochs=50"]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "launch.py", *words],
            cwd=CHECKOUT,
            stdout=output,
            stderr=output,
            env=environment,
        )
        try:
            while not (row := _first_row(set(outputs.glob("runs/*")) - before)):
                if process.poll() is not None:
                    output.seek(0)
                    raise UserError(f"launch.py {' '.join(words)} ended: {output.read()}")
                time.sleep(0.01)
            seconds = time.monotonic() - started
        finally:
            process.kill()
            process.wait()
    return {"start to the end of the first step": seconds, "the first step": row["time_s"]}


def _first_row(folders: set[Path]) -> dict[str, Any] | None:
    """Return the first line of metrics that is complete in one of `folders`, if any."""
    for folder in folders:
        file = folder / "metrics.jsonl"
        line = file.read_text().partition("\n") if file.exists() else ("", "", "")
        if line[1]:
            return json.loads(line[0])
    return None


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(each[key] for each in runs) for key in runs[0]}


def _table(values: dict[str, Any]) -> Table:
    """Return the table of all measurements."""
    from rich.table import Table

    table = Table(title=f"seconds until ... ({values['hardware']})")
    table.add_column("")
    table.add_column("s", justify="right")
    for name, seconds in values["answers_s"].items():
        table.add_row(name, f"{seconds:.2f}")
    runs = {"default run": values["default_run_s"], **values["compiled_jobs_s"]}
    for name, row in runs.items():
        for what, seconds in row.items():
            table.add_row(f"{name}: {what}", f"{seconds:.2f}")
    for what, ratio in values["second_to_first"].items():
        table.add_row(f"second job beside the first: {what}", f"{100 * ratio:.0f} %")
    return table
