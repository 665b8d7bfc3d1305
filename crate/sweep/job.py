"""What a job of a launcher does: one frozen point, in the process of a job or of a slot."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crate import provenance
from crate.config.check import CHECKOUT
from crate.config.errors import UserError
from crate.config.schema import dump, restore
from crate.ownership import Busy, owner_of
from crate.progress import say_on_console
from crate.records import read_json, write_json
from crate.runfolder import RunFolder, find
from crate.secrets import file_mode, redact
from crate.sweep import snapshot
from crate.sweep.folder import SweepFolder
from crate.sweep.freeze import Point
from crate.sweep.modules import Modules
from crate.sweep.seal import require_as_launched, seal
from crate.train.distributed import Ranks, SaidByFirst
from crate.train.preempt import ignore_from_now_on

logger = logging.getLogger("crate")


def write_point(sweep: SweepFolder, point: Point, modules: Modules) -> None:
    """Writes down all that a job needs to know of a point.

    What only a launch may decide is decided: a job that comes back after a preemption must not set
    its own work aside.
    """
    config = dump(point.config) | {"rerun": False, "resume": "auto"}
    config |= {"other_code": "accept", "other_data": "accept"}
    values = {
        "signature": point.signature,
        "label": point.label,
        **redact({"overrides": point.overrides, "swept": point.swept}),
        "config": config,
        "folder": os.getcwd(),
        "modules": asdict(modules),
    }
    values = seal(values, point.config)
    write_json(sweep.point_file(point.signature), values, file_mode(config))


class Job:
    """Runs points of a sweep, by signature; submitit pickles it, and puts it back in the queue."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep

    def __call__(self, signature: str) -> float | None:
        """Returns the best val/top1 of a point (percent), or None where it is not to be run here.

        Raises what ended the run, so that Slurm calls the job failed.
        """
        in_pool = "CRATE_POOL" in os.environ
        if in_pool:
            return self._run(signature, ends_process=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})  # see hold_signals.py
        try:
            return self._run(signature, ends_process=True)
        finally:  # the job's end is decided; a late signal must not change what Slurm makes of it
            ignore_from_now_on()

    def _run(self, signature: str, *, ends_process: bool) -> float | None:
        sys.stdout.reconfigure(line_buffering=True)
        ranks = Ranks.detect()
        say_on_console(ranks.is_first)
        file = SweepFolder(self.sweep).point_file(signature)
        values = read_json(file)
        path = find(values["config"]["outputs"], signature)
        if path is not None and RunFolder(path).cancelled.exists():
            logger.info("cancelled before it began")
            return None
        try:
            if provenance.is_snapshot(CHECKOUT):
                snapshot.require_intact(CHECKOUT)
            return _train(values, file, ranks, ends_process=ends_process)
        except Busy as error:
            logger.info("left to the process that runs it: %s", error.given)
        except SaidByFirst:
            raise SystemExit(1) from None
        except UserError as error:
            _note_failure(values, str(error), None)
            logger.error("error: %s", error)
            raise SystemExit(1) from None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _note_failure(values, reason, traceback.format_exc())
            raise
        return None

    def checkpoint(self, signature: str) -> Any:
        """Returns what submitit puts back in the queue: the same point, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, signature)


def _train(values: dict[str, Any], file: Path, ranks: Ranks, *, ends_process: bool) -> float | None:
    from omegaconf import OmegaConf

    from crate.run import train

    Modules(**values["modules"]).find()
    if Path(values["folder"]).is_dir():  # where its launch was, for paths in kwargs of its own
        os.chdir(values["folder"])
    config = OmegaConf.to_object(restore(values["config"]))
    require_as_launched(values, config, file)
    names = (values["signature"], values["label"], values["overrides"])
    return train(config, *names, ranks, ends_process=ends_process)


def _note_failure(values: dict[str, Any], reason: str, trace: str | None) -> None:
    """Write down why a run failed before it could do so, unless another process has it by now."""
    path = find(values["config"]["outputs"], values["signature"])
    if path is None or owner_of(path) is not None:
        return
    if RunFolder(path).status.state != "finished":
        RunFolder(path).update_status(state="failed", reason=reason, traceback=trace)
