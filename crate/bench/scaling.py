"""How the cost of a training step grows with batch, resolution, depth and ranks.

Steps run uncompiled here; otherwise each shape would be compiled separately.
"""

from __future__ import annotations

import argparse
import math
from statistics import median
from typing import TYPE_CHECKING, Any

from crate.bench.way import Way

if TYPE_CHECKING:
    from rich.table import Table

MODEL = "crate_tiny"
AXES: dict[str, tuple[int, ...]] = {
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "resolution": (64, 128, 224, 320, 512),
    "depth": (3, 6, 12, 24),
    "ranks": (1, 2, 4, 8),
}
BATCH = 8  # while another axis varies


def measure(device: str, precision: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return for each axis the seconds and memory at its values, and how they grow (exponents).

    The values of an axis take turns. Ranks share the cores, or have one GPU each, and split one
    global batch; their number goes up to that of the cores or GPUs.
    """
    from crate.bench.stepping import Stepper

    model = arguments.models[0]
    axes: dict[str, Any] = {}
    for axis, values in AXES.items():
        if axis == "ranks":
            values = tuple(value for value in values if value <= _most_ranks(device))
        steppers = {value: Stepper(_way(axis, value, device, precision, model)) for value in values}
        seconds: dict[int, list[float]] = {value: [] for value in values}
        for _ in range(arguments.rounds):
            for value, stepper in steppers.items():
                stepper.run(1)
                seconds[value].append(stepper.run(arguments.steps))
        rows = [
            {
                axis: value,
                "seconds": median(seconds[value]),
                "gflops_a_second": stepper.flops / median(seconds[value]) / 1e9,
                "peak_memory_gb": stepper.finish(),
            }
            for value, stepper in steppers.items()
        ]
        keys = ("seconds", "peak_memory_gb")
        exponents = {key: _exponent(axis, rows, key) for key in keys}
        axes[axis] = {"model": model, "precision": precision, "rows": rows, "exponent": exponents}
    return axes


def _most_ranks(device: str) -> int:
    import torch

    from crate.run import provenance

    return torch.cuda.device_count() if device == "cuda" else provenance.cores()


def _way(axis: str, value: int, device: str, precision: str, model: str) -> Way:
    from crate.run import provenance

    ranks = value if axis == "ranks" else 1
    overrides: list[str] = ["train.compile=off"]
    if axis == "resolution":
        overrides.append(f"data.img_size={value}")
    if axis == "depth":
        overrides.append(f"model.depth={value}")
    return Way(
        "ours",
        precision,
        model,
        batch_size=value if axis == "batch" else BATCH,
        device=device,
        ranks=ranks,
        threads=max(1, provenance.cores() // ranks),
        overrides=tuple(overrides),
    )


def _exponent(axis: str, rows: list[dict[str, Any]], key: str) -> float | None:
    """Return b of the least-squares fit log y = a + b log x; None for less than two points."""
    if len(rows) < 2:
        return None
    xs = [math.log(row[axis]) for row in rows]
    ys = [math.log(row[key]) for row in rows]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - mean_x) ** 2 for x in xs)


def tables(values: dict[str, Any]) -> list[Table]:
    """Return a table for each axis."""
    from rich.table import Table

    shown = []
    for axis, result in values["scaling"].items():
        exponents = ", ".join(
            f"{name} ~ {axis}^{exponent:.2f}"
            for name, exponent in result["exponent"].items()
            if exponent is not None
        )
        table = Table(
            title=f"{result['model']} {result['precision']} by {axis} "
            f"({values['hardware']}, {values['device']})",
            caption=exponents,
        )
        for head in (axis, "s a step", "GFLOP/s", "peak GB"):
            table.add_column(head, justify="right")
        for row in result["rows"]:
            table.add_row(
                str(row[axis]),
                f"{row['seconds']:.4f}",
                f"{row['gflops_a_second']:,.0f}",
                f"{row['peak_memory_gb']:.2f}",
            )
        shown.append(table)
    return shown
