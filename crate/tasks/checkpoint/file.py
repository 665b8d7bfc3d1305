"""A quick test whether a file can be a checkpoint, by its first bytes and without torch.

A checkpoint is read whole, with every checksum, by `crate.train.checkpoints.checkpoint.read`.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from crate.errors import UserError

KINDS = "a .pt, .pth or .safetensors file"


def require_checkpoint(path: Path, key: str) -> None:
    """Raise UserError if `path`, given as `key`, is missing or cannot hold weights."""
    if path.is_dir():
        inside = path / "checkpoints" / "best.pt"
        fix = f"{key}={inside}" if inside.is_file() else f"{key}=FILE"
        raise UserError(f"there is no checkpoint {path}: it is a folder", KINDS, fix)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}", KINDS, f"{key}=FILE")
    try:
        reason = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    if reason:
        raise UserError(f"{path} is refused: {reason}", KINDS, f"{key}=FILE")


def _safetensors(path: Path) -> str | None:
    """Return why a file is not in the format of safetensors; None if it seems to be.

    The format: the length of the header (8 bytes), the header as JSON, the weights.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > path.stat().st_size:
            return "it is torn, or not a safetensors file"
        try:
            header = json.loads(file.read(length))
            ends = [each["data_offsets"][1] for each in header.values() if "data_offsets" in each]
            is_whole = 8 + length + max(ends, default=0) <= path.stat().st_size
        except (ValueError, AttributeError, LookupError, TypeError):
            return "it is not a safetensors file"
    return None if is_whole else "it is torn"


def _torch(path: Path) -> str | None:
    """Return why a file is not in a format of torch; None if it seems to be.

    The formats: a zip archive, and the bare pickle of older versions.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        try:
            with zipfile.ZipFile(path) as archive:
                names = [Path(name).name for name in archive.namelist()]
        except zipfile.BadZipFile:
            return "it is torn, or not a checkpoint"
        return None if "data.pkl" in names else "it is a zip archive of something else"
    return None if start[:1] == b"\x80" else "it is not a checkpoint"
