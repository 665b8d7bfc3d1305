"""What a run keeps in its folder while it trains: checkpoints, best weights, rows and status."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from crate.config.schema import Config, dump
from crate.errors import UserError
from crate.run.folder import RunFolder
from crate.run.secrets import redact
from crate.tracking import Tracker
from crate.train.archive.best import Best
from crate.train.archive.history import History
from crate.train.archive.record import Record, Silence
from crate.train.checkpoints.checkpoint import Checkpoints, read
from crate.train.checkpoints.content import Content
from crate.train.finite import require_finite
from crate.train.setup import Setup
from crate.train.state import TrainState

logger = logging.getLogger("crate")
RETRY_MIN = 0.5  # until what could not be saved is tried again


class Archive:
    """The folder of a run as the loop uses it, on every rank; rank 0 alone writes there.

    Creating it restores `state` from the newest checkpoint, if there is one.
    """

    def __init__(
        self,
        config: Config,
        setup: Setup,
        state: TrainState,
        folder: RunFolder,
        signature: str,
        tracker: Tracker,
    ) -> None:
        self.options, self.ranks = config.train, setup.ranks
        self.checkpoints = Checkpoints(folder.checkpoints, signature, self.options.keep)
        self.history = History(folder.metrics)
        stored_config = _as_stored(config)
        self.described = {"config": stored_config, "label_names": setup.label_names}
        self.best = Best(self.checkpoints, self.history, self.described)
        self.record = Silence()
        history = self._restore(state, setup.steps.total)
        if self.ranks.is_first:
            last_row_at = max(state.logged_step, state.evaluated_step)
            self.history.resume(history, state.step, last_row_at)
            if state.best_step:
                self.best.load(state)
            self.record = Record(
                redact(stored_config), state, folder, signature, tracker, self.history
            )
        self._save_after(self.options.checkpoint_every_min)

    def _restore(self, state: TrainState, total_steps: int) -> Content | None:
        """Load the newest checkpoint into `state`; return the rows of metrics that it holds."""
        file = self.ranks.first(self.checkpoints.newest)
        if file is None:
            return None
        values = read(file)
        state.load_state_dict(values)
        logger.info("going on at step %d of %d", state.step, total_steps)
        return values.get("history")

    def is_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after `step` steps."""
        every = self.options.checkpoint_every_steps
        by_steps = every is not None and step > 0 and step % every == 0
        return by_steps or time.monotonic() >= self._next_save

    def save(self, state: TrainState, *, required: bool, sigterm_at: float | None) -> None:
        """Save a checkpoint; what a full disk refuses is tried again later, unless `required`.

        Raise NonFinite if the state is broken, and UserError if a required checkpoint is refused.
        """
        require_finite(state)
        values = state.state_dict() | self.described | {"history": self.history.state_dict()}
        is_saved = self.ranks.first(partial(self.checkpoints.save, state.step, values))
        if required and not is_saved:
            raise UserError(
                f"step {state.step} could not be saved in {self.checkpoints.folder}",
                "a disk with room; the last whole checkpoint is kept",
                "the same command, which goes on from there",
            )
        self.record.saved(state, sigterm_at)
        self._save_after(self.options.checkpoint_every_min if is_saved else RETRY_MIN)

    def finish(self, state: TrainState) -> None:
        """Verify the rows and the best weights of a run that is done."""
        if self.ranks.is_first:
            self.history.rebuild(state.step)
            state.best_is_lost = self.best.load(state) is None

    def _save_after(self, minutes: float) -> None:
        self._next_save = time.monotonic() + 60 * minutes


def _as_stored(config: Config) -> dict[str, Any]:
    """Return a configuration as a checkpoint stores it, to be restored and run.

    The tracker's values are redacted: restoring needs its target alone.
    """
    values = dump(config)
    values["tracker"] = redact(values["tracker"]) | {"_target_": config.tracker._target_}
    return values
