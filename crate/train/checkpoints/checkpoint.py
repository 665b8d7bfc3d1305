"""Checkpoints: whole, checked when read, and never a program.

    checkpoints/
        step-00000460.pt   the newest `train.keep`: all that a resume needs
        best.pt            weights of the best evaluation

A file takes its name only when it is complete. Reading verifies the checksum of every record and
unpickles nothing but tensors and plain values, so a torn, altered or malicious file is refused.
"""

from __future__ import annotations

import copy
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from crate.errors import UserError, shorten
from crate.run.records import whole_file
from crate.run.secrets import file_mode
from crate.train.checkpoints.checksum import damage

logger = logging.getLogger("crate")


class CheckpointError(UserError):
    """A checkpoint that cannot be used, with the reason."""


def write(path: Path, values: dict[str, Any]) -> None:
    """Write tensors and plain values as a whole file, private where its configuration is secret."""
    try:
        with whole_file(path, file_mode(values.get("config"))) as file:
            torch.save(values, file)
    except RuntimeError as error:  # torch's writer, while it closes, hides what the disk said
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def read(path: Path) -> dict[str, Any]:
    """Returns what a file holds, on the CPU; raises CheckpointError where it cannot be trusted."""
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
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is torn or no checkpoint: {what}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds {type(values).__name__}, not named weights")
    return values


class Checkpoints:
    """The checkpoints of one run folder.

    What a full disk refuses is said, and tried again: the last whole checkpoint stands.
    """

    def __init__(self, folder: Path, signature: str, keep: int) -> None:
        self.folder, self.signature, self.keep = folder, signature, keep
        self._best: dict[str, Any] | None = None  # what could not be saved so far

    def files(self) -> list[Path]:
        """Returns the step checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.pt"), reverse=True)

    def file(self, step: int) -> Path:
        """Return where the checkpoint of a step is, or would be."""
        return self.folder / f"step-{step:08d}.pt"

    def save(self, step: int, values: dict[str, Any]) -> bool:
        """Saves the state at `step`, then removes all but the newest `keep`; tells whether it did.

        On a full disk all but the newest are removed first, which may make room.
        """
        saved = self._write(self.file(step).name, values)
        if not saved and len(self.files()) > 1:
            self._remove(self.files()[1:])
            saved = self._write(self.file(step).name, values)
        self._remove(self.files()[self.keep :])
        if self._best is not None:
            self.save_best(self._best)
        return saved

    def save_best(self, values: dict[str, Any]) -> None:
        """Saves the weights of the best evaluation so far; those refused wait in memory."""
        saved = self._write("best.pt", values)
        self._best = None if saved else copy.deepcopy(values)

    def best(self) -> dict[str, Any]:
        """Returns the weights of the best evaluation so far."""
        return read(self.folder / "best.pt") if self._best is None else self._best

    def _write(self, name: str, values: dict[str, Any]) -> bool:
        try:
            write(self.folder / name, values | {"signature": self.signature})
        except OSError as error:
            logger.warning("%s is not saved: %s; tried again later", name, error.strerror)
            return False
        return True

    def _remove(self, files: list[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)

    def newest(self) -> Path | None:
        """Returns the file of this configuration's newest whole state, None where there is none.

        Says which files it passed over and why. Raises UserError where files are there and none
        can be used: starting from nothing is for the user to decide.
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
