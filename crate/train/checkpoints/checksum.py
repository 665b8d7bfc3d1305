"""Whether a checkpoint is whole, by the checksums of its records. Imports no torch."""

from __future__ import annotations

import zipfile
from pathlib import Path


def damage(path: Path) -> str | None:
    """Return what is wrong with a file that `torch.save` wrote, or None.

    torch itself verifies no checksum when it loads one.
    """
    if not path.is_file():
        return "is missing"
    try:
        with zipfile.ZipFile(path) as records:
            bad = records.testzip()
    except (OSError, ValueError, NotImplementedError, EOFError, zipfile.BadZipFile) as error:
        return f"is torn or no checkpoint: {error}"
    return None if bad is None else f"is corrupt: the checksum of {bad} is wrong"
