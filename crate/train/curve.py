"""The training curve as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crate.run.records import whole_file


def draw_curve(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Writes a PNG of the losses (left) and the accuracy (right) against the epoch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, names in ((left, ("train/loss", "val/loss")), (right, ("val/top1", "val/top5"))):
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if {name, "epoch"} <= row.keys()]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.5)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    left.set_ylabel("loss (nats)")
    right.set_ylabel("accuracy (%)")
    figure.suptitle(title, fontsize=10)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)
