"""The checkout's folder, and absolute paths."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CONF = CHECKOUT / "conf"


def absolute(path: str | Path, folder: Path = CHECKOUT) -> Path:
    """Return `path` as an absolute path; `~` is the home folder, a relative path is in `folder`.

    `..` is resolved, except after a symbolic link, where that would name another file.
    """
    plain = folder / os.path.expanduser(path)
    tidy = os.path.normpath(plain)
    return Path(tidy) if os.path.realpath(tidy) == os.path.realpath(plain) else plain
