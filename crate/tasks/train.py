"""The task `train`: one run from its identity to its end.

    identify     checked configuration, signature, label          crate.tasks.identity
    look         done, go on, set aside, or ask the user          crate.tasks.decision
    build        model, optimizer and data, on every rank         crate.train.setup
    take         the run's folder, by rank 0                      crate.run.ownership
    train        and record how it starts and ends                crate.tasks.attempt

Torch is imported only once it is known that there is something to train.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crate.config.label import label
from crate.errors import UserError, raise_all
from crate.ranks import Ranks
from crate.run.console import logger
from crate.run.folder import RunFolder, find, require_writable
from crate.run.ownership import Ownership
from crate.run.secrets import redact
from crate.tasks import bookkeeping
from crate.tasks.attempt import FULL, attempt
from crate.tasks.decision import Verdict, decide, mixed, questions
from crate.tasks.identity import Run, signature_of
from crate.tasks.preflight import require_startable
from crate.tasks.request import Request
from crate.tracking import Tracker
from crate.train.signals import Signals

if TYPE_CHECKING:
    from crate.train.setup import Setup
    from crate.train.state import TrainState


def run(request: Request) -> float | None:
    """Train the configuration, and return the best value of its objective.

    Raise UserError for what the user can correct; exit with a signal's code if one stops the run.
    """
    config = request.config()
    require_startable(config, request.ranks)
    if config.name is not None:
        raise UserError("name= is for a sweep", "tracker.name=... with tracker=wandb, for a run")
    words = label(config, redact(request.choices), redact(request.overrides))
    identified = Run(config, signature_of(config), words, request.overrides)
    if (path := find(config.outputs, identified.signature)) is not None:
        RunFolder(path).withdraw_cancellation()
    return train(identified, request.ranks, ends_process=request.ends_process)


def train(run: Run, ranks: Ranks, *, ends_process: bool = False) -> float | None:
    """Train `run` in its folder unless it is done, and return the best value of its objective.

    With `ends_process` the caller exits afterwards, and signals that come after the run has ended
    are ignored.
    """
    with ranks.joined(run.config.device):
        try:
            return Training(run, ranks, Signals(ends_process=ends_process)).start()
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"the disk of {run.config.outputs} is full", "a disk with room", "outputs=FOLDER"
            ) from error


class Training:
    """The part of one process in the training of a run."""

    def __init__(self, run: Run, ranks: Ranks, signals: Signals) -> None:
        self.run, self.ranks, self.signals = run, ranks, signals
        self.owner: Ownership | None = None  # of rank 0 alone, once it has the folder

    def start(self) -> float | None:
        """Train, go on, or find the run done; return its best value."""
        done, auto = self.ranks.first(self._look)
        if done is not None:
            return done
        from crate.train.setup import build  # imports torch

        setup = self.ranks.each(lambda: build(self.run.config, auto, self.ranks))
        with self.signals:
            path, done = self.ranks.first(self._take)
            if done is not None:
                return done
            try:
                result = self._train(setup, RunFolder(path))
            finally:
                if self.owner is not None:
                    self.owner.release()
            if not result.is_done:
                self.signals.leave(self.ranks)
            return result.best

    def _look(self) -> tuple[float | None, dict[str, Any]]:
        """Deal with an earlier run: return its best value if it is done, and its `auto` values.

        Raise UserError if the user has to decide first, and Busy instead of setting aside a run
        that is being trained.
        """
        require_writable(self.run.config.outputs)
        path = find(self.run.config.outputs, self.run.signature)
        if path is None:
            return None, {}
        folder = RunFolder(path)
        decision = decide(path, folder.status, self.run.config)
        raise_all(questions([decision]))
        if decision.verdict is Verdict.DONE:
            return say_done(folder), {}
        if decision.verdict is Verdict.SET_ASIDE:
            Ownership.take(path).release()  # raises Busy
            logger.info("set aside: %s", folder.set_aside())
            return None, {}
        for warning in mixed(path, self.run.config):
            logger.warning(warning)
        return None, folder.meta.auto

    def _take(self) -> tuple[Path, float | None]:
        """Take the run's folder; return it, and the best value if the run is done.

        Another process may have finished the run while this one was building its model.
        """
        folder = RunFolder.create(self.run.config.outputs, self.run.label, self.run.signature)
        self.owner = Ownership.take(folder.path)
        folder.remove_temporary_files()
        if folder.status.state != "finished":
            return folder.path, None
        self.owner.release()
        return folder.path, say_done(folder)

    def _train(self, setup: Setup, folder: RunFolder) -> TrainState:
        """Train as the owner of the folder, or as another rank, which writes nothing."""
        if self.owner is not None:
            return attempt(self.run, setup, self.owner, self.signals)
        from crate.train.loop import train

        config, signature = self.run.config, self.run.signature
        return train(config, setup, folder, signature, Tracker(), self.signals)


def say_done(folder: RunFolder) -> float | None:
    """Log what a finished run reached and what to do for another one; return its best value."""
    logger.info("done already: %s", folder.path)
    bookkeeping.say_result(folder)
    bookkeeping.warn_of_losses(folder)
    logger.info("to train it anew, type rerun=true; the old run is kept aside")
    return folder.status.best
