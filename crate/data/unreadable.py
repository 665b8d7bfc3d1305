"""Which files of a list are no images, found by decoding each once, and kept for later starts.

    <folder of caches>/checked-<fingerprint>/
        unreadable.json   the numbers of the files that cannot be read
        owner-<n>.json    who decodes them; see crate/ownership.py

The fingerprint is of every file's name, size and date, so that a changed file is decoded anew, and
of PIL's version, which may read more than another.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import PIL

from crate import provenance
from crate.config.errors import UserError
from crate.data.image import read_pixels
from crate.ownership import held
from crate.runfolder import read_json, write_json

FORMAT = 1
DIGITS = 16


def unreadable(paths: list[str], place: Path | None) -> tuple[list[int], bool]:
    """Returns the indices of the unreadable among `paths`, and whether they were known already.

    One process decodes and keeps in the folder `place` what it found; others that ask at the same
    time wait for it. With `place` None nothing is kept.
    """
    if place is None:
        return _decode_all(paths), False
    folder = place / f"checked-{_fingerprint(paths)}"
    file = folder / "unreadable.json"
    if known := read_json(file):
        return known["unreadable"], True
    what = f"{folder}: another process checks {len(paths):,} images"
    with held(folder, what, fix="CRATE_CACHE=FOLDER or data.cache=FOLDER"):
        if known := read_json(file):
            return known["unreadable"], True
        found = _decode_all(paths)
        write_json(file, {"num_images": len(paths), "unreadable": found})
    return found, False


def _decode_all(paths: list[str]) -> list[int]:
    with ThreadPoolExecutor(provenance.cores()) as pool:  # PIL decodes without the lock
        return [index for index, whole in enumerate(pool.map(_is_readable, paths)) if not whole]


def _is_readable(path: str) -> bool:
    try:
        read_pixels(path)
    except UserError:
        return False
    return True


def _fingerprint(paths: list[str]) -> str:
    digest = sha256(json.dumps([FORMAT, PIL.__version__]).encode())
    for path in paths:
        digest.update(json.dumps([path, *_state(path)]).encode())
    return digest.hexdigest()[:DIGITS]


def _state(path: str) -> tuple[int, ...]:
    try:
        state = os.stat(path)
    except OSError:  # a link to nowhere is unreadable too
        return ()
    return state.st_size, state.st_mtime_ns
