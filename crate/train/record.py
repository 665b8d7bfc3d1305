"""What a run writes down while it trains: metrics, status, bar and log. Rank 0 alone has one."""

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
from crate.train.history import History
from crate.train.setup import Setup
from crate.train.state import TrainState

logger = logging.getLogger("crate")


class Silence:
    """The record of every rank but the first: it takes everything and writes nothing."""

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
    """Writes to the run's folder, its tracker, the bar and the log."""

    def __init__(
        self,
        config: dict[str, Any],
        setup: Setup,
        state: TrainState,
        folder: RunFolder,
        signature: str,
        tracker: Tracker,
        history: History,
    ) -> None:
        self.setup, self.folder, self.tracker, self.history = setup, folder, tracker, history
        tracker.start(folder, signature, config)
        self._bar = Bar(state.step, setup.steps.total)
        self._mark(state)

    def __enter__(self) -> Record:
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)

    def step(self, state: TrainState) -> None:
        """Moves the bar."""
        self._bar.update(state.step)

    def training(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Logs what was measured since the last line, with the speed since then."""
        seconds = time.monotonic() - self._marked_at
        steps = range(self._marked_step, state.step)
        images = sum(map(self.setup.steps.batch_length, steps))
        remaining_s = (self.setup.steps.total - state.step) * seconds / len(steps)
        metrics = metrics | {
            "images_per_s": round(images / seconds, 1),
            "memory_gb": round(peak_memory_gb(self.setup.device), 3),
            "remaining_s": round(remaining_s, 1),
        }
        self._log(state, self._clock(state) | metrics)
        self._bar.update(
            state.step,
            f"loss {metrics['train/loss']:.3f}  |g| {metrics['train/grad_norm']:.2g}  "
            f"{metrics['images_per_s']:.0f} images/s  {metrics['memory_gb']:.1f} GB",
        )
        at_work = {key: metrics[key] for key in ("images_per_s", "remaining_s")}
        self.folder.update_status(step=state.step, step_at=time.time(), **at_work)
        self._mark(state)

    def evaluation(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Logs an evaluation, and says it."""
        clock = self._clock(state)
        self._log(state, clock | metrics)
        logger.info(
            "epoch %d/%d  step %d  %s  %.0f s",
            state.step // self.setup.steps.per_epoch,
            self.setup.steps.total // self.setup.steps.per_epoch,
            state.step,
            _in_words(state, metrics),
            clock["time_s"],
        )
        is_measured = not math.isnan(state.last)  # an evaluator need not run at every evaluation
        values = {"last": state.last, "best": state.best} if is_measured else {}
        self.folder.update_status(step_at=time.time(), **values)
        self._mark(state)

    def test(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Logs the last word, from the evaluation split."""
        self._log(state, self._clock(state) | metrics)

    def saved(self, state: TrainState, sigterm_at: float | None) -> None:
        """Notes a checkpoint, and since when the run has been told to end."""
        self.folder.update_status(step=state.step, sigterm_at=sigterm_at)
        self._mark(state)

    def _log(self, state: TrainState, values: dict[str, float]) -> None:
        self.history.add(state.step, values)
        self.tracker.log(state.step, values)

    def _mark(self, state: TrainState) -> None:
        """Begins a measurement of speed, which leaves evaluating and saving out."""
        self._marked_step, self._marked_at = state.step, time.monotonic()

    def _clock(self, state: TrainState) -> dict[str, Any]:
        return {
            "epoch": round(state.step / self.setup.steps.per_epoch, 4),
            "time_s": round(state.time_s(), 3),
        }


def _in_words(state: TrainState, metrics: dict[str, float]) -> str:
    """Return the evaluation's main metrics, among them the objective with its best value."""
    shown = {"val/loss": None, DEFAULT: None, state.objective.metric: None}
    values = state.trained | metrics
    words = [f"{name} {number(name, values[name])}" for name in shown if name in values]
    words.append(f"best {state.objective.text(state.best)}")
    if "val/ema_top1" in metrics:
        words.append(f"ema {number('val/ema_top1', metrics['val/ema_top1'])}")
    return "  ".join(words)


def peak_memory_gb(device: torch.device) -> float:
    """Returns the most memory held so far: a GPU's by torch, else this process's (1e9 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
