"""The record of a run while it trains: metrics, status, progress bar and log, on rank 0 alone."""

from __future__ import annotations

import logging
import math
import resource
import sys
import time
from typing import Any

import torch

from crate.config.schema.objective import DEFAULT, number
from crate.run.console import Bar
from crate.run.folder import RunFolder
from crate.tracking import Tracker
from crate.train.archive.history import History
from crate.train.state import TrainState

logger = logging.getLogger("crate")


class Silence:
    """The record of every rank except rank 0: it writes nothing."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def step(self, state: TrainState) -> None:
        pass

    def training(self, state: TrainState, metrics: dict[str, float]) -> None:
        pass

    def evaluation(self, state: TrainState, metrics: dict[str, float]) -> None:
        pass

    def test(self, state: TrainState, metrics: dict[str, float]) -> None:
        pass

    def saved(self, state: TrainState, sigterm_at: float | None) -> None:
        pass


class Record(Silence):
    """The record of rank 0: it writes to the run's folder, its tracker, the bar and the log."""

    def __init__(
        self,
        config: dict[str, Any],
        state: TrainState,
        folder: RunFolder,
        signature: str,
        tracker: Tracker,
        history: History,
    ) -> None:
        self.folder, self.tracker, self.history = folder, tracker, history
        self.steps, self.device = state.steps, state.device
        tracker.start(folder, signature, config)
        self._bar = Bar(state.step, self.steps.total)
        self._mark(state)

    def __enter__(self) -> Record:
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)

    def step(self, state: TrainState) -> None:
        """Move the bar."""
        self._bar.update(state.step)

    def training(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Log the metrics of the steps since the last row, with their speed."""
        seconds = time.monotonic() - self._marked_at
        steps = range(self._marked_step, state.step)
        images = sum(map(self.steps.batch_length, steps))
        remaining_s = (self.steps.total - state.step) * seconds / len(steps)
        metrics = metrics | {
            "images_per_s": round(images / seconds, 1),
            "memory_gb": round(peak_memory_gb(self.device), 3),
            "remaining_s": round(remaining_s, 1),
        }
        self._log(state, self._clock(state) | metrics)
        self._bar.update(
            state.step,
            f"loss {metrics['train/loss']:.3f}  |g| {metrics['train/grad_norm']:.2g}  "
            f"{metrics['images_per_s']:.0f} images/s  {metrics['memory_gb']:.1f} GB",
        )
        speed = {key: metrics[key] for key in ("images_per_s", "remaining_s")}
        self.folder.update_status(step=state.step, step_at=time.time(), **speed)
        self._mark(state)

    def evaluation(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Log the metrics of an evaluation, as a row and as a line of text."""
        clock = self._clock(state)
        self._log(state, clock | metrics)
        logger.info(
            "epoch %d/%d  step %d  %s  %.0f s",
            state.step // self.steps.per_epoch,
            self.steps.total // self.steps.per_epoch,
            state.step,
            _in_words(state, metrics),
            clock["time_s"],
        )
        is_measured = not math.isnan(state.last)  # an evaluator need not run at every evaluation
        values = {"last": state.last, "best": state.best} if is_measured else {}
        self.folder.update_status(step_at=time.time(), **values)
        self._mark(state)

    def test(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Log the metrics of the test split."""
        self._log(state, self._clock(state) | metrics)

    def saved(self, state: TrainState, sigterm_at: float | None) -> None:
        """Record that `state` was saved, and the time of a SIGTERM, if one came."""
        self.folder.update_status(step=state.step, sigterm_at=sigterm_at)
        self._mark(state)

    def _log(self, state: TrainState, values: dict[str, float]) -> None:
        self.history.add(state.step, values)
        self.tracker.log(state.step, values)

    def _mark(self, state: TrainState) -> None:
        """Start to measure speed; the time of evaluating and saving does not count."""
        self._marked_step, self._marked_at = state.step, time.monotonic()

    def _clock(self, state: TrainState) -> dict[str, float]:
        return {
            "epoch": round(state.step / self.steps.per_epoch, 4),
            "time_s": round(state.time_s(), 3),
        }


def _in_words(state: TrainState, metrics: dict[str, float]) -> str:
    """Return the main metrics of an evaluation as text, with the best value of the objective."""
    values = state.trained | metrics
    of_own_evaluators = [name for name in metrics if not name.startswith("val/")]
    shown = dict.fromkeys(["val/loss", DEFAULT, state.objective.metric, *of_own_evaluators])
    words = [f"{name} {number(name, values[name])}" for name in shown if name in values]
    words.append(f"best {state.objective.text(state.best if state.best_step else None)}")
    if "val/ema_top1" in metrics:
        words.append(f"ema {number('val/ema_top1', metrics['val/ema_top1'])}")
    return "  ".join(words)


def peak_memory_gb(device: torch.device) -> float:
    """Return the peak memory (1e9 bytes): of torch on a GPU, or of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
