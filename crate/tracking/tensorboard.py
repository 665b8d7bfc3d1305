"""Metrics in TensorBoard's event files, in the run folder's tensorboard/."""

from __future__ import annotations

from typing import Any

import yaml

from crate.run.folder import RunFolder
from crate.tracking.base import Tracker


class TensorBoard(Tracker):
    """Write each metric as a scalar, and the configuration as text."""

    def start(self, folder: RunFolder, signature: str, config: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        rows = folder.read_metrics()  # a resumed run has them up to its checkpoint
        resumed = rows[-1]["step"] + 1 if rows else 0
        # TensorBoard ignores what a killed run wrote from this step on.
        self.writer = SummaryWriter(str(folder.path / "tensorboard"), purge_step=resumed)
        if not rows:
            text = yaml.safe_dump(config, sort_keys=False).replace("\n", "\n    ")
            self.writer.add_text("config", f"    {text}")  # indented, as a code block of Markdown

    def log(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # if the run is killed, no row before a checkpoint is lost

    def finish(self, state: str) -> None:
        self.writer.close()
