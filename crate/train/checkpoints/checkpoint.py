"""Checkpoints: whole files that are verified when read, and that cannot run code.

    checkpoints/
        step-00000460.pt   the newest `train.keep` of them: all that a resume needs
        best.pt            weights of the best evaluation

A file takes its name only when it is complete. Reading verifies the checksum of every record and
unpickles tensors and plain values only, so that a torn, altered or malicious file is refused.
"""

from __future__ import annotations

import copy
import logging
import pickle
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from crate.errors import UserError, shorten
from crate.run.records import whole_file
from crate.run.secrets import file_mode
from crate.train.checkpoints.checksum import damage
from crate.train.checkpoints.content import Content

logger = logging.getLogger("crate")


class CheckpointError(UserError):
    """The error of a checkpoint that cannot be used."""


def write(path: Path, values: Content) -> None:
    """Write tensors and plain values as a whole file, private if its configuration has secrets."""
    try:
        with whole_file(path, file_mode(values.get("config"))) as file:
            torch.save(values, file)
    except RuntimeError as error:  # closing, torch's writer hides the error of the disk
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def read(path: Path) -> Content:
    """Return the content of a file, on the CPU; raise CheckpointError if it cannot be trusted."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}", "a .pt, .pth or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path) and (damaged := damage(path)) is not None:
            raise CheckpointError(f"{path} {damaged}")
        values = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it holds more than tensors and plain values, so loading it could run code"
        if "Unsupported" not in str(error) and "weights_only" not in str(error).lower():
            reason = "it is torn or no checkpoint"
        raise CheckpointError(f"{path} is refused: {reason}") from error
    except CheckpointError:
        raise
    except Exception as error:  # torn and altered files fail in many ways inside zip and torch
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is torn or no checkpoint: {reason}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds {type(values).__name__}, not named weights")
    return values


class Checkpoints:
    """The checkpoints of one run folder.

    If a full disk refuses one, a warning is logged, it is tried again later, and the last whole
    checkpoint is kept.
    """

    def __init__(self, folder: Path, signature: str, keep: int) -> None:
        self.folder, self.signature, self.keep = folder, signature, keep
        self._best: Content | None = None  # weights that could not be saved yet

    def files(self) -> list[Path]:
        """Return the files of the step checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def file(self, step: int) -> Path:
        """Return the file of the checkpoint of a step, whether it exists or not."""
        return self.folder / f"step-{step:08d}.pt"

    def save(self, step: int, values: Content) -> bool:
        """Save the state at `step`, remove all but the newest `keep`, and return whether it worked.

        On a full disk, all but the newest are removed before it is tried once more.
        """
        saved = self._write(self.file(step).name, values)
        if not saved and len(self.files()) > 1:
            self._remove(self.files()[1:])
            saved = self._write(self.file(step).name, values)
        self._remove(self.files()[self.keep :])
        if self._best is not None:
            self.save_best(self._best)
        return saved

    def save_best(self, values: Content) -> None:
        """Save the weights of the best evaluation so far; keep them in memory if that fails."""
        saved = self._write("best.pt", values)
        self._best = None if saved else copy.deepcopy(values)

    def best(self) -> Content:
        """Return the weights of the best evaluation so far."""
        return read(self.folder / "best.pt") if self._best is None else self._best

    def _write(self, name: str, values: Content) -> bool:
        try:
            write(self.folder / name, values | {"signature": self.signature})
        except OSError as error:
            logger.warning("%s is not saved: %s; it is tried again later", name, error.strerror)
            return False
        return True

    def _remove(self, files: list[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint of this configuration, or None if there is no file.

        Warn of each file that cannot be used. Raise UserError if there are files and none can be
        used: the user decides whether to start again from nothing.
        """
        reasons = []
        for file in self.files():
            try:
                values = read(file)
                if values.get("signature") != self.signature:
                    other = values.get("signature", "none")
                    raise CheckpointError(f"{file} is of another configuration ({other})")
                return file
            except CheckpointError as error:
                logger.warning("passed over: %s", error)
                reasons.append(file.name)
        if reasons:
            raise UserError(
                f"no checkpoint in {self.folder} can be used: {shorten(reasons, 4)}",
                "a whole checkpoint of this configuration",
                "resume=never, which sets the run aside and trains anew",
            )
        return None
