"""One run from start to end: its identity, folder, owner, task and status.

Imports torch only once it is known that there is something to do.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from crate import provenance
from crate.config import check
from crate.config.errors import UserError
from crate.config.schema import Config
from crate.config.signature import identity, signature
from crate.data import facts
from crate.ownership import Ownership
from crate.progress import logger, say_in_file, say_on_console
from crate.runfolder import RunFolder, find, read_json, require_writable

Choices = dict[str, str]


def run(cfg: DictConfig, choices: Choices, overrides: list[str]) -> float | None:
    """Does the configured task; returns the best val/top1 in percent, or None.

    Raises UserError for what the user can mend; exits with a signal's code when one stopped it.
    """
    say_on_console()
    if cfg.task == "evaluate":
        from crate.evaluate_checkpoint import evaluate_checkpoint

        return evaluate_checkpoint(cfg, overrides)
    config = prepare(cfg)
    return Run(config, choices, overrides).start()


def prepare(cfg: DictConfig) -> Config:
    """Returns a composed configuration completed from the data, checked and typed."""
    return check.typed(cfg, facts.complete(cfg))


class Run:
    """A training run of one configuration."""

    def __init__(self, config: Config, choices: Choices, overrides: list[str]) -> None:
        self.config, self.overrides = config, overrides
        init_hash = file_hash(Path(config.init_from)) if config.init_from else None
        self.signature = signature(config, facts.identity(config.data), init_hash)
        self.label = label(config, choices, provenance.redact(overrides))
        self.fingerprint = provenance.fingerprint()

    def start(self) -> float | None:
        """Trains, goes on, or says that it is done; returns the best val/top1."""
        outputs = self.config.outputs
        require_writable(outputs)
        path = find(outputs, self.signature)
        if path is not None and (done := self._settle(RunFolder(path))) is not None:
            return done
        path = find(outputs, self.signature)  # None again where the old run was set aside
        from crate.train import setup  # torch from here on

        decided = read_json(path / "meta.json").get("auto", {}) if path else {}
        built = setup.build(self.config, decided)
        folder = RunFolder.create(outputs, self.label, self.signature)
        owner = Ownership.take(folder.path)
        try:
            folder.remove_temporary_files()
            return self._train(built, folder, owner)
        finally:
            owner.release()

    def _settle(self, folder: RunFolder) -> float | None:
        """Deals with an earlier run of this configuration: done, set aside, or to go on (None)."""
        status, config = folder.status, self.config
        finished = status.get("state") == "finished"
        other_code = finished and read_json(folder.path / "meta.json").get("fingerprint") not in (
            None,
            self.fingerprint,
        )
        anew = (
            config.rerun
            or (config.resume == "never" and not finished)
            or (other_code and config.other_code == "rerun")
        )
        if anew:
            Ownership.take(folder.path).release()  # not under a process that is still at it
            logger.info("set aside: %s", folder.set_aside())
            return None
        if not finished:
            return None
        if other_code and config.other_code == "ask":
            raise UserError(
                f"done, by other code than this: {folder.path}",
                "its result as it is, or training anew",
                "other_code=accept or other_code=rerun",
            )
        logger.info("done already: %s", folder.path)
        self._say_result(folder)
        logger.info("to train it anew, type rerun=true; the old run is kept aside")
        return status["best_top1"]

    def _train(self, built: Any, folder: RunFolder, owner: Ownership) -> float | None:
        from crate.config.target import call
        from crate.tracking import Jsonl, Trackers
        from crate.train.loop import NonFinite, train
        from crate.train.preempt import Signals

        log = say_in_file(folder.log)
        tracker = Trackers([Jsonl(), call(self.config.tracker)])
        folder.freeze(asdict(self.config), self.overrides)
        auto = {"device": str(built.device), "precision": built.precision}
        folder.update_meta(**provenance.describe(), auto=auto)
        folder.update_status(
            state="running",
            attempts=owner.number,
            reason=None,
            step=folder.status.get("step", 0),
            total_steps=built.total_steps,
        )
        owner.keep_alive(folder.update_status)
        self._say_start(built, folder)
        state = "failed"
        try:
            with Signals() as signals:
                result = train(self.config, built, folder, self.signature, tracker, signals)
            if signals.exit_code is not None and result.step < built.total_steps:
                state = "stopped"
                folder.update_status(state=state, reason=f"signal, exit {signals.exit_code}")
                logger.info("saved at step %d; the same command goes on from there", result.step)
                sys.exit(signals.exit_code)
            state = "finished"
            self._finish(result, folder)
            return result.best_top1
        except UserError as error:
            folder.update_status(state="failed", reason=str(error))
            raise
        except NonFinite as error:
            folder.update_status(state="failed", reason=str(error))
            raise UserError(
                f"{error}; the last good checkpoint stands in {folder.checkpoints}",
                "a smaller learning rate, clipping, or more precise arithmetic",
                "optimizer.lr=..., train.clip_norm=1 or precision=fp32",
            ) from None
        except Exception as error:
            folder.update_status(state="failed", reason=f"{type(error).__name__}: {error}")
            logger.exception("failed")
            sys.exit(1)
        finally:
            tracker.finish(state)
            logger.removeHandler(log)
            log.close()

    def _say_start(self, built: Any, folder: RunFolder) -> None:
        weights = sum(weight.numel() for weight in built.model.parameters())
        logger.info(
            "%s: %s weights, %d epochs, %d steps, %s on %s",
            folder.path.name,
            f"{weights:,}",
            self.config.train.epochs,
            built.total_steps,
            built.precision,
            built.device,
        )

    def _finish(self, result: Any, folder: RunFolder) -> None:
        """Draws the curve, marks the run finished, and says where everything is."""
        from crate.train.curve import draw_curve

        draw_curve(folder.read_metrics(), folder.path.name, folder.curve)
        folder.update_status(
            state="finished",
            step=result.step,
            best_top1=result.best_top1,
            best_step=result.best_step,
            last_top1=result.last_top1,
        )
        logger.info("run folder: %s", folder.path)
        self._say_result(folder)

    def _say_result(self, folder: RunFolder) -> None:
        status = folder.status
        logger.info(
            "val/top1: last %.2f, best %.2f at step %d (chosen on the evaluation split)",
            status["last_top1"],
            status["best_top1"],
            status["best_step"],
        )
        logger.info("curve: %s", folder.curve)


def label(config: Config, choices: Choices, overrides: list[str]) -> str:
    """Returns a configuration in words, for the folder's name: its choices and what was typed.

    Only what belongs to the identity is named, so that data.workers=4 does not appear.
    """
    words = [choices["model"], choices["data"], choices["optimizer"]]
    known = _flat(identity(config))
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in known:
            words.append(f"{key.split('.')[-1]}{value}")
    text = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(words))
    return text[:100].rstrip("-_.")


def file_hash(path: Path) -> str:
    """Returns the hash of a file's content; raises UserError where there is none."""
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}", "a .pt or .pth file", "init_from=FILE")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flat(values: dict[str, Any], at: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in values.items():
        names |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}"}
    return names
