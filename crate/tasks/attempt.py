"""One attempt at a run, by the process that owns its folder.

However training ends, the folder, the log and the exit code tell the same.
"""

from __future__ import annotations

import errno
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from crate.errors import UserError
from crate.run.console import logger, say_in_file
from crate.run.folder import RunFolder
from crate.run.ownership import Ownership
from crate.tasks import bookkeeping
from crate.tasks.identity import Run
from crate.tracking import Jsonl, Trackers
from crate.train.signals import Signals

if TYPE_CHECKING:
    from crate.train.setup import Setup
    from crate.train.state import TrainState

FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: the disk, or the user's share of it, is full


class Lost(UserError):
    """The run's folder was removed or taken over, so nothing more may be written there."""

    @classmethod
    def of(cls, folder: RunFolder) -> Lost:
        """Return the error for a folder that this process no longer owns."""
        if folder.path.is_dir():
            return cls(f"{folder.path} was taken over by another process while this one slept")
        return cls(f"{folder.path} was removed or renamed while its run was at work")


def attempt(run: Run, setup: Setup, owner: Ownership, signals: Signals) -> TrainState:
    """Train `run` in the folder of `owner`, record its start and its end; return the final state.

    Raise UserError for what the user can correct, and OSError for a full disk; exit with 1 after
    any other error, whose traceback is logged.
    """
    from crate.config.target import call
    from crate.train.loop import train

    folder = RunFolder(owner.path.parent)
    log = say_in_file(folder.log)
    tracker = Trackers([Jsonl(), call(run.config.tracker)])
    bookkeeping.begin(folder, run.config, run.overrides, setup, owner.number)
    state = "failed"

    def beat() -> None:
        folder.renew_heartbeat()
        if folder.is_cancelled:
            signals.cancel()

    try:
        beat()
        owner.keep_alive(beat, lost=signals.lose)
        result = train(run.config, setup, folder, run.signature, tracker, signals)
        if signals.lost:
            raise Lost.of(folder)
        _record_end(run, setup, folder, signals, result)
        state = "finished" if result.is_done else "stopped"
        return result
    except Lost:
        raise
    except (Exception, SystemExit) as error:
        _fail(folder, error)
    finally:
        tracker.finish(state)
        logger.removeHandler(log)
        log.close()


def _record_end(
    run: Run, setup: Setup, folder: RunFolder, signals: Signals, result: TrainState
) -> None:
    """Mark the run as finished, or as stopped by a signal."""
    if result.is_done:
        signals.is_finishing = True
        bookkeeping.finish(folder, run.config, result, setup)
        signals.is_finished = True
    else:
        folder.stop(signals.reason)
        logger.info("saved at step %d; %s", result.step, signals.how_to_go_on)


def _fail(folder: RunFolder, error: Exception | SystemExit) -> NoReturn:
    """Record why a run failed, and raise or exit accordingly."""
    if not folder.path.is_dir():
        raise Lost.of(folder) from error
    if isinstance(error, OSError) and error.errno in FULL:
        raise error
    if isinstance(error, UserError):
        folder.fail(str(error))
        raise error
    if isinstance(error, SystemExit):  # of a user's code
        folder.fail(f"left by sys.exit({error.code!r})")
        raise error
    folder.fail(f"{type(error).__name__}: {error}", traceback.format_exc())
    logger.error("failed", exc_info=error)
    sys.exit(1)
