"""Which files of a list are no images, found by decoding each once, and kept for later starts.

    <folder of caches>/checked-<fingerprint>/
        unreadable.json   the numbers of the files that cannot be read
        owner-<n>.json    who decodes them; see crate/run/ownership.py

The fingerprint is of every file's name, size and date of change, so that after any change all are
decoded anew, and of PIL's version, which may read more than another. What the disk refused to give
is left out too, and nothing is kept then: it may be readable the next time.
"""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import PIL

from crate.data.images.image import read_pixels
from crate.errors import UserError
from crate.run import provenance, records
from crate.run.ownership import held
from crate.run.records import Record, Unreadable

FORMAT = 1
DIGITS = 16


@dataclass(kw_only=True)
class Checked(Record):
    """What unreadable.json holds: the indices of the unreadable among `num_images` files."""

    num_images: int
    unreadable: list[int]


def unreadable(paths: list[str], place: Path | None) -> tuple[list[int], bool]:
    """Returns the indices of the unreadable among `paths`, and whether they were known already.

    One process decodes and keeps in the folder `place` what it found; others that ask at the same
    time wait for it. With `place` None nothing is kept.
    """
    if place is None:
        return _decode_all(paths)[0], False
    folder = place / f"checked-{_fingerprint(paths)}"
    file = folder / "unreadable.json"
    if (known := _known(file)) is not None:
        return known.unreadable, True
    what = f"{folder}: another process checks {len(paths):,} images"
    with held(folder, what, fix="CRATE_CACHE=FOLDER or data.cache=FOLDER"):
        if (known := _known(file)) is not None:
            return known.unreadable, True
        found, is_lasting = _decode_all(paths)
        if is_lasting:
            records.write(file, Checked(num_images=len(paths), unreadable=found))
    return found, False


def _known(file: Path) -> Checked | None:
    """Return what an earlier start found; None if there is nothing, or it is damaged."""
    try:
        return records.read(Checked, file)
    except Unreadable:
        return None


def _decode_all(paths: list[str]) -> tuple[list[int], bool]:
    """Returns the indices of the unreadable, and whether they will be so until a file changes."""
    with ThreadPoolExecutor(provenance.cores()) as pool:  # PIL decodes without the lock
        failures = enumerate(pool.map(_failure, paths))
        found = {index: failure for index, failure in failures if failure is not None}
    numbers = {getattr(failure, "errno", None) for failure in found.values()}  # None: a decoder's
    return list(found), numbers <= {None, errno.ENOENT}


def _failure(path: str) -> BaseException | None:
    try:
        read_pixels(path)
    except UserError as error:
        return error.__cause__
    return None


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
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns
