"""Unreadable images among files, found by decoding each once and stored for later starts.

    <folder of caches>/checked-<fingerprint>/
        unreadable.json   the numbers of the files that cannot be read
        owner-<n>.json    who decodes them; see crate/run/ownership.py

The fingerprint covers every file's name, size and date of change, and the version of PIL: if one
changes, all files are decoded again. Files that the disk cannot read are unreadable too, but then
nothing is stored, because the disk may recover.
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
    """The content of unreadable.json: the indices of the unreadable among `num_images` files."""

    num_images: int
    unreadable: list[int]


def unreadable(paths: list[str], caches: Path | None) -> tuple[list[int], bool]:
    """Return the indices of the unreadable among `paths`, and whether an earlier start found them.

    One process decodes the files and stores the result below the folder `caches`; others that need
    it at the same time wait. With `caches` None nothing is stored.
    """
    if caches is None:
        return _decode_all(paths)[0], False
    folder = caches / f"checked-{_fingerprint(paths)}"
    file = folder / "unreadable.json"
    if (known := _known(file)) is not None:
        return known.unreadable, True
    what = f"{folder}: another process checks {len(paths):,} images"
    with held(folder, what, fix="CRATE_CACHE=FOLDER or data.cache=FOLDER"):
        if (known := _known(file)) is not None:
            return known.unreadable, True
        indices, is_lasting = _decode_all(paths)
        if is_lasting:
            records.write(file, Checked(num_images=len(paths), unreadable=indices))
    return indices, False


def _known(file: Path) -> Checked | None:
    """Return the result of an earlier start, or None if there is none or it is damaged."""
    try:
        return records.read(Checked, file)
    except Unreadable:
        return None


def _decode_all(paths: list[str]) -> tuple[list[int], bool]:
    """Return the indices of the unreadable, and whether they stay so until a file changes."""
    with ThreadPoolExecutor(provenance.cores()) as pool:  # PIL releases the interpreter lock
        failures = enumerate(pool.map(_failure, paths))
        errors = {index: failure for index, failure in failures if failure is not None}
    numbers = {getattr(error, "errno", None) for error in errors.values()}  # None: a decoder's
    return list(errors), numbers <= {None, errno.ENOENT}


def _failure(path: str) -> BaseException | None:
    """Return the error that reading an image raises, or None."""
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
    except OSError:  # a broken link is unreadable too
        return ()
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns
