"""How fast a whole training step is, beside the textbook's, and how its cost grows.

A step is forward, loss, backward and optimizer. The textbook's form is that of the authors' script:
ISTA by three products, explicit attention, nothing compiled, fp32 on a CPU and fp16 on a GPU.
Each way runs in a separate process, and the ways take turns, so that other load on the machine
slows all of them alike. FLOP/s count the matrix products that our form needs, for either form. The
share compares that rate with the rate of one large product of matrices in the same rounds.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import TYPE_CHECKING, Any

from crate.bench.output import add_json, show

if TYPE_CHECKING:
    from rich.table import Table

HELP = "images per second of a training step beside the textbook's; --sweep: how cost grows"
MODELS = ("crate_tiny", "crate_small", "crate_base", "crate_large")
BATCH = {"cpu": 32, "cuda": 512}
SHIPPED = {"cpu": "fp32", "cuda": "fp16"}  # the authors' script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = __doc__
    add_json(parser)
    parser.add_argument("--models", nargs="+", default=MODELS, help="options of the group model")
    parser.add_argument("--batch-size", type=int, help="images per step; 32 on CPU, 512 on GPU")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the result is their median")
    parser.add_argument("--steps", type=int, default=2, help="steps per turn, plus one to warm up")
    parser.add_argument(
        "--sweep", action="store_true", help="vary batch, resolution, depth and ranks"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print the result; return 0."""
    return show(*measure(arguments), as_json=arguments.json)


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Return the measurements as JSON values, and the tables that show them."""
    from crate.bench import scaling
    from crate.train.hardware.device import hardware, resolve_device, resolve_precision

    device = resolve_device(arguments.device)
    native = resolve_precision("auto", device)
    values: dict[str, Any] = {"hardware": hardware(device), "device": device.type}
    if arguments.sweep:
        values["scaling"] = scaling.measure(device.type, native, arguments)
        return values, scaling.tables(values)
    values |= {"rounds": arguments.rounds, "native_precision": native}
    values["batch_size"] = arguments.batch_size or BATCH[device.type]
    precisions = ["fp32"] if native == "fp32" else ["fp32", native]
    if device.type == "cuda":
        precisions.append("fp16")
    values["models"] = {
        name: _measure(name, device.type, precisions, values["batch_size"], arguments)
        for name in arguments.models
    }
    return values, [_table(name, values) for name in arguments.models]


def _measure(
    model: str, device: str, precisions: list[str], batch_size: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the rows of one model by name, and its largest costs, as JSON values."""
    from crate.bench.stepping import Stepper
    from crate.bench.way import Way

    ways = {
        f"{form} {precision}": Way(form, precision, model, batch_size, device)
        for form in ("textbook", "ours", "matmul")
        for precision in precisions
        if (form, precision) != ("ours", "fp16")
    }
    steppers = {name: Stepper(way) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, stepper in steppers.items():
            stepper.run(1)  # refills the caches after the previous way
            seconds[name].append(stepper.run(arguments.steps))
    best = f"ours {precisions[min(1, len(precisions) - 1)]}"
    costs = steppers[best].largest_costs(3)
    shipped = f"textbook {SHIPPED[device]}"
    rows = {}
    for name, stepper in steppers.items():
        form, precision = name.split()
        rate = stepper.flops / median(seconds[name])
        rows[name] = {
            "seconds": median(seconds[name]),
            "gflops_a_second": rate / 1e9,
            "peak_memory_gb": stepper.finish(),
        }
        if form == "matmul":
            continue
        peer = f"textbook {'fp16' if (device, precision) == ('cuda', 'bf16') else precision}"
        rows[name] |= {
            "images_a_second": batch_size / median(seconds[name]),
            "ratio_at_its_precision": _ratio(seconds[peer], seconds[name]),
            "ratio_to_the_script": _ratio(seconds[shipped], seconds[name]),
            "share_of_matmul": _ratio(seconds[f"matmul {precision}"], seconds[name])
            * stepper.flops
            / steppers[f"matmul {precision}"].flops,
        }
    return {"ways": rows, "largest_costs": {best: costs}}


def _ratio(above: list[float], below: list[float]) -> float:
    """Return how many times faster `below` was: the median over the rounds."""
    return median(a / b for a, b in zip(above, below, strict=True))


def _table(model: str, values: dict[str, Any]) -> Table:
    """Return the table of one model."""
    from rich.table import Table

    result = values["models"][model]
    (best, costs), *_ = result["largest_costs"].items()
    named = ", ".join(f"{name} {100 * share:.0f} %" for name, share in costs.items())
    table = Table(
        title=f"a training step of {model}, batch {values['batch_size']}, median of "
        f"{values['rounds']} interleaved rounds ({values['hardware']}, {values['device']})",
        caption=f"largest costs of {best}: {named}",
    )
    heads = ("images/s", "x same precision", "x the script", "GFLOP/s", "% of matmul", "peak GB")
    for head in ("", *heads):
        table.add_column(head, justify="right" if head else "left")
    for name, row in result["ways"].items():
        is_step = "images_a_second" in row
        step = ("images_a_second", "ratio_at_its_precision", "ratio_to_the_script")
        table.add_row(
            name,
            *(f"{row[key]:,.2f}" if is_step else "" for key in step),
            f"{row['gflops_a_second']:,.0f}",
            f"{100 * row['share_of_matmul']:.0f}" if is_step else "100",
            f"{row['peak_memory_gb']:.2f}",
        )
    return table
