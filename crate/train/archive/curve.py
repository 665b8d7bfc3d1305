"""The training curve as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crate.config.schema import Objective
from crate.config.schema.objective import PERCENT
from crate.run.records import whole_file

LOSSES = ["train/loss", "val/loss"]
ACCURACIES = ["val/top1", "val/top5"]


def draw_curve(rows: list[dict[str, Any]], title: str, path: Path, objective: Objective) -> None:
    """Write a PNG of the losses (left) and the accuracies (right) against the epoch.

    `rows` are those of metrics.jsonl. The objective's metric is drawn with those of its unit, and
    alone on the right if it is neither a loss nor an accuracy in percent.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, (label, names) in zip(axes, panels(objective.metric), strict=True):
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if {name, "epoch"} <= row.keys()]
            if points:
                panel.plot(*zip(*points, strict=True), label=name, linewidth=1.5)
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def panels(metric: str) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
    """Return the label and the metrics of the left and of the right panel."""
    losses, accuracies = ("loss (nats)", [*LOSSES]), ("accuracy (%)", [*ACCURACIES])
    if metric.endswith("loss"):
        losses[1].extend({metric} - {*LOSSES})
    elif metric.endswith(PERCENT):
        accuracies[1].extend({metric} - {*ACCURACIES})
    else:
        return losses, (metric, [metric])
    return losses, accuracies
