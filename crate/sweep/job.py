"""What a job of a launcher does: run one frozen point.

python -m crate.sweep.job SWEEP_FOLDER SIGNATURE
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from crate.config.schema import Config, restore
from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.ranks import Ranks, ReportedByRank0
from crate.run import provenance
from crate.run.console import say_on_console
from crate.run.folder import RunFolder, find
from crate.run.ownership import Busy, owner_of
from crate.run.records import read_json
from crate.sweep.code import snapshot
from crate.sweep.code.modules import Modules
from crate.sweep.define.seal import require_as_launched
from crate.sweep.stored.folder import SweepFolder
from crate.train.signals import ignore_from_now_on

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

logger = logging.getLogger("crate")


class Job:
    """Runs points of a sweep by signature; submitit pickles it, and requeues it.

    Jobs in a queue name this class, so it keeps its name and its attribute `sweep`.
    """

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep

    def __call__(self, signature: str) -> float | None:
        """Run a point in a process that ends with it, and return what `run` does."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})  # see hold_signals.py
        try:
            return self.run(signature, ends_process=True)
        finally:  # the end of the job is decided: a late signal must not change its exit code
            ignore_from_now_on()

    def run(self, signature: str, *, ends_process: bool) -> float | None:
        """Return the best value of a point's objective, or None if the run is left to others.

        Raise the error that ended the run, so that Slurm calls the job failed.
        """
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)
        ranks = Ranks.detect()
        say_on_console(ranks.is_first)
        sweep = SweepFolder(self.sweep)
        path = find(str(sweep.outputs), signature)
        if path is not None and RunFolder(path).is_cancelled:
            logger.info("cancelled before it began")
            return None
        try:
            if provenance.is_snapshot(CHECKOUT):
                snapshot.require_intact(CHECKOUT)
            return _train(sweep, signature, ranks, ends_process=ends_process)
        except Busy as error:
            logger.info("left to the process that runs it: %s", error.given)
        except ReportedByRank0:
            raise SystemExit(1) from None
        except UserError as error:
            _note_failure(path, str(error), None)
            logger.error("error: %s", error)
            raise SystemExit(1) from None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _note_failure(path, reason, traceback.format_exc())
            raise
        return None

    def checkpoint(self, signature: str) -> DelayedSubmission:
        """Return what submitit puts back into the queue: the same point, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, signature)


def _train(sweep: SweepFolder, signature: str, ranks: Ranks, *, ends_process: bool) -> float | None:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from crate.tasks import identity
    from crate.tasks.preflight import require_startable
    from crate.tasks.train import train

    identity.forget()  # files may have changed since an earlier point of this process
    file, point = sweep.point_file(signature), sweep.point(signature)
    try:
        Modules(**point.modules).find()
        config = OmegaConf.to_object(restore(point.config))
        assert isinstance(config, Config)
    except (TypeError, OmegaConfBaseException) as error:
        raise UserError(f"{file} is damaged: {str(error).splitlines()[0]}") from error
    if Path(point.folder).is_dir():  # the launch's folder, to which paths in kwargs are relative
        os.chdir(point.folder)
    require_as_launched(read_json(file), config, file)  # the seal is over the file as it is
    require_startable(config, ranks)
    run = identity.Run(config, point.signature, point.label, point.overrides)
    return train(run, ranks, ends_process=ends_process)


def _note_failure(path: Path | None, reason: str, trace: str | None) -> None:
    """Record why a run failed before it began, unless another process has taken it over."""
    if path is None or owner_of(path) is not None:
        return
    if RunFolder(path).status.state != "finished":
        RunFolder(path).fail(reason, trace)


if __name__ == "__main__":
    Job(Path(sys.argv[1]))(sys.argv[2])
