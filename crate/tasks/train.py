"""One run from start to end: its identity, folder, owner, task and status.

Imports torch only once it is known that there is something to do.
"""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig

from crate.config.label import Choices, label
from crate.config.schema import Config
from crate.errors import UserError, raise_all
from crate.ranks import Ranks
from crate.run.console import logger, say_in_file, say_on_console
from crate.run.folder import RunFolder, find, require_writable
from crate.run.ownership import Ownership
from crate.run.secrets import redact
from crate.tasks import bookkeeping
from crate.tasks.decision import Verdict, decide, mixed, questions
from crate.tasks.identity import prepare, signature_of
from crate.tasks.preflight import require_readable, require_startable
from crate.tracking import Jsonl, Tracker, Trackers
from crate.train.signals import Signals

FULL = (errno.ENOSPC, errno.EDQUOT)


class Lost(UserError):
    """The run's folder was removed or taken over, so nothing more may be written there."""


def run(
    cfg: DictConfig, choices: Choices, overrides: list[str], *, ends_process: bool = False
) -> float | None:
    """Do the configured task and return the best value of its objective, or None.

    With `ends_process` the caller exits afterwards, and signals that come after the run has ended
    are ignored. Raise UserError for what the user can mend; exit with a signal's code when one
    stopped the run.
    """
    ranks = Ranks.detect()
    say_on_console(ranks.is_first)
    if cfg.task != "train":
        require_readable(cfg, overrides, ranks)
    if cfg.task == "evaluate":
        from crate.tasks.evaluate import evaluate_checkpoint

        return evaluate_checkpoint(cfg, overrides, ranks)
    if cfg.task == "export":
        from crate.tasks.export import export_checkpoint

        if ranks.is_first:
            export_checkpoint(cfg, overrides)
        return None
    config = prepare(cfg)
    require_startable(config, ranks)
    if config.name is not None:
        raise UserError("name= is for a sweep", "tracker.name=... with tracker=wandb, for a run")
    words = label(config, redact(choices), redact(overrides))
    identity = signature_of(config)
    if (path := find(config.outputs, identity)) is not None:
        RunFolder(path).cancelled.unlink(missing_ok=True)  # typing it takes that back
    return train(config, identity, words, overrides, ranks, ends_process=ends_process)


def train(
    config: Config,
    signature: str,
    label: str,
    overrides: list[str],
    ranks: Ranks,
    *,
    ends_process: bool = False,
) -> float | None:
    """Train one configuration in its folder, as `run` does, and return its best value."""
    with ranks.joined(config.device):
        try:
            training = Run(config, signature, label, overrides, ranks)
            return training.start(Signals(ends_process=ends_process))
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"the disk of {config.outputs} is full", "a disk with room", "outputs=FOLDER"
            ) from error


class Run:
    """A training run of one configuration."""

    def __init__(
        self, config: Config, signature: str, label: str, overrides: list[str], ranks: Ranks
    ) -> None:
        self.config, self.overrides, self.ranks = config, overrides, ranks
        self.signature, self.label = signature, label
        self.owner: Ownership | None = None  # of rank 0 alone, once it has the folder

    def start(self, signals: Signals) -> float | None:
        """Train, go on, or say that the run is done; return its best value."""
        done, decided = self.ranks.first(self._look)
        if done is not None:
            return done
        from crate.train import setup  # torch from here on

        built = self.ranks.each(lambda: setup.build(self.config, decided, self.ranks))
        with signals:
            path, done = self.ranks.first(self._take)
            if done is not None:
                return done
            folder = RunFolder(path)
            try:
                if self.owner is None:
                    result = self._follow(built, folder, signals)
                else:
                    result = self._train(built, folder, self.owner, signals)
            finally:
                if self.owner is not None:
                    self.owner.release()
            if not result.is_done:
                signals.leave(self.ranks)
            return result.best

    def _take(self) -> tuple[Path, float | None]:
        """Take the run's folder; return it, and its best value if the run is done.

        Another process may have finished the run while this one was building its model.
        """
        folder = RunFolder.create(self.config.outputs, self.label, self.signature)
        self.owner = Ownership.take(folder.path)
        folder.remove_temporary_files()
        if folder.status.state != "finished":
            return folder.path, None
        self.owner.release()
        return folder.path, self._say_done(folder)

    def _look(self) -> tuple[float | None, dict[str, str]]:
        """Deal with an earlier run; return its best value if it is done, and its `auto` values.

        Raise UserError if the user has to decide first, and Busy instead of setting a live run
        aside.
        """
        outputs = self.config.outputs
        require_writable(outputs)
        if (path := find(outputs, self.signature)) is None:
            return None, {}
        folder = RunFolder(path)
        decision = decide(path, folder.status, self.config)
        raise_all(questions([decision]))
        if decision.verdict is Verdict.DONE:
            return self._say_done(folder), {}
        if decision.verdict is Verdict.SET_ASIDE:
            Ownership.take(path).release()  # raises Busy if a process still runs it
            logger.info("set aside: %s", folder.set_aside())
            return None, {}
        for warning in mixed(path, self.config):
            logger.warning(warning)
        return None, folder.meta.auto

    def _say_done(self, folder: RunFolder) -> float:
        """Say that a run is finished and what it reached; return its best value."""
        logger.info("done already: %s", folder.path)
        bookkeeping.say_result(folder)
        bookkeeping.warn_of_losses(folder)
        logger.info("to train it anew, type rerun=true; the old run is kept aside")
        return folder.status.best

    def _follow(self, built: Any, folder: RunFolder, signals: Signals) -> Any:
        """Train as any rank but the first, which writes nothing; return the state reached."""
        from crate.train.loop import train

        return train(self.config, built, folder, self.signature, Tracker(), signals)

    def _train(self, built: Any, folder: RunFolder, owner: Ownership, signals: Signals) -> Any:
        """Trains as the first rank, and writes down how it began and how it ended.

        Returns the state reached; exits where the run failed.
        """
        from crate.config.target import call
        from crate.train.loop import train

        log = say_in_file(folder.log)
        tracker = Trackers([Jsonl(), call(self.config.tracker)])
        bookkeeping.begin(folder, self.config, self.overrides, built, owner.number)
        state = "failed"

        def beat() -> None:
            folder.update_status()
            if folder.cancelled.exists():
                signals.cancel()

        try:
            beat()
            owner.keep_alive(beat, lost=signals.lose)
            result = train(self.config, built, folder, self.signature, tracker, signals)
            if signals.lost:
                raise _lost(folder)
            if result.is_done:
                signals.is_finishing = True
                bookkeeping.finish(folder, self.config, result, built)
                signals.is_finished, state = True, "finished"
            else:
                state = "stopped"
                folder.update_status(state=state, reason=signals.said)
                logger.info("saved at step %d; %s", result.step, signals.how_to_go_on)
            return result
        except Lost:
            raise
        except (Exception, SystemExit) as error:
            _fail(folder, error)
        finally:
            tracker.finish(state)
            logger.removeHandler(log)
            log.close()


def _lost(folder: RunFolder) -> Lost:
    """Return the error of a run that may not write to its folder any more."""
    if folder.path.is_dir():
        return Lost(f"{folder.path} was taken over by another process while this one slept")
    return Lost(f"{folder.path} was removed or renamed while its run was at work")


def _fail(folder: RunFolder, error: Exception | SystemExit) -> NoReturn:
    """Write down why a run failed, and raise or exit accordingly."""
    if not folder.path.is_dir():
        raise _lost(folder) from error
    if isinstance(error, OSError) and error.errno in FULL:
        raise error
    if isinstance(error, UserError):
        folder.update_status(state="failed", reason=str(error))
        raise error
    if isinstance(error, SystemExit):  # of code that we called
        folder.update_status(state="failed", reason=f"left by sys.exit({error.code!r})")
        raise error
    reason = f"{type(error).__name__}: {error}"
    folder.update_status(state="failed", reason=reason, traceback=traceback.format_exc())
    logger.error("failed", exc_info=error)
    sys.exit(1)
