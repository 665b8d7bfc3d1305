"""Caches on disk, and the checks that tell a torn, outdated or altered one.

    <folder of caches>/<fingerprint>/
        images.u8        all images one after the other, each (height, width, channels)
        index.npy        (N, 5) int64: offset, height, width, label, crc32 of an image's bytes
        cache.json       the fingerprint of its images and the sizes of its files; written last
        owner-<n>.json   the process that builds it; see crate/run/ownership.py

The file of images is mapped into memory: a crop reads only its own pixels, from the page cache
that all processes share. Pages are released regularly, so that the resident memory of a process
stays constant. The map is private: an augmentation that writes to an image in place changes no
file. Never shorten images.u8 while jobs run: rebuilding makes a new file, and running jobs keep the
old one.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crate.data.source import Source
from crate.run import records
from crate.run.records import Record, Unreadable

FORMAT = 1
IMAGES, INDEX, ABOUT = "images.u8", "index.npy", "cache.json"
SAMPLE = 16  # images whose checksum is compared at every start
DIGITS = 16
MAPPED = 32 * 2**20  # bytes that a process reads before it releases the pages


class Refused(Exception):
    """The reason why a cache cannot be used; "" if there is none."""


@dataclass(kw_only=True)
class About(Record):
    """The content of cache.json; `format` is its version."""

    format: int
    fingerprint: str
    num_images: int = 0
    channels: int
    bytes: int
    modified_ns: int | None = None
    index_sha256: str
    resize: list[int] = field(default_factory=list)
    source: str = ""
    torch: str = ""

    @property
    def made_of(self) -> str:
        """The folder of its image files; earlier versions call it "from"."""
        return self.source or str(self.unknown.get("from", ""))


class Cached:
    """Images of a split as uint8 tensors (C, H, W), and labels, from a cache."""

    def __init__(self, folder: Path, channels: int, notes: list[str] | None = None) -> None:
        self.folder, self.channels, self.notes = folder, channels, notes or []
        self._open()

    def _open(self) -> None:
        self._index = np.load(self.folder / INDEX, mmap_mode="r")  # (N, 5)
        with open(self.folder / IMAGES, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._mapped = 0  # bytes read since pages were released

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "channels": self.channels, "notes": self.notes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state  # a spawned worker opens the files again
        self._open()

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        offset, height, width, label, _ = self._index[index].tolist()
        pixels = self._view(offset, height * width * self.channels)
        shape = (height, width, self.channels)
        return torch.from_numpy(pixels.reshape(shape)).permute(2, 0, 1), label

    def _view(self, offset: int, size: int) -> np.ndarray:
        """Return a view of the file; earlier views stay valid: pages are read again if needed."""
        self._mapped += size
        if self._mapped > MAPPED and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._mapped = size
        return self._bytes[offset : offset + size]

    def is_whole(self, index: int) -> bool:
        """Return whether an image's bytes are those that were written."""
        offset, height, width, _, checksum = self._index[index].tolist()
        return zlib.crc32(self._view(offset, height * width * self.channels).data) == checksum


def fingerprint(source: Source, arguments: dict[str, Any] | None = None) -> str:
    """Return the hash of the content of a cache: every file and its label, and the settings.

    A file is identified by its name, size and modification time, so replacing one in place makes
    another cache. Names are relative to the folder that all files share: a data set that is moved,
    or copied with its times, keeps its cache. `arguments` are those of a user's own data set.
    """
    paths, top, digest = source.paths, source.top, sha256()
    kind = f"{type(source.images).__module__}.{type(source.images).__qualname__}"
    settings = [FORMAT, kind, arguments or {}, source.num_channels, source.resized_to]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for path, label in zip(paths, source.labels, strict=True):
        name = os.path.relpath(path, top) if "/../" in path else path[len(top) + 1 :]
        state = os.stat(path)
        digest.update(json.dumps([name, state.st_size, state.st_mtime_ns, label]).encode())
    return digest.hexdigest()[:DIGITS]


def open_cache(folder: Path, key: str, notes: list[str] | None = None) -> Cached:
    """Return the cache in `folder`; raise Refused if there is none or it is damaged.

    The format, the sizes of the files, the index and a sample of the images are compared at every
    start. If the file of images has another date, as after a copy, all images are compared.
    """
    try:
        about = records.read(About, folder / ABOUT)
    except Unreadable as error:
        raise Refused(str(error)) from error
    if about is None:
        torn = (folder / IMAGES).exists() or any(folder.glob(".*.tmp"))
        raise Refused("it was not completed" if torn else "")
    if about.format != FORMAT or about.fingerprint != key:
        raise Refused("it is outdated: another version, or other images")
    try:
        state = os.stat(folder / IMAGES)
        if state.st_size != about.bytes:
            raise Refused(f"images.u8 holds {state.st_size:,} of {about.bytes:,} bytes")
        if sha256((folder / INDEX).read_bytes()).hexdigest() != about.index_sha256:
            raise Refused("index.npy was altered")
        cached = Cached(folder, about.channels, notes)
    except (OSError, ValueError) as error:
        raise Refused(f"it is torn: {error}") from error
    same_date = state.st_mtime_ns == about.modified_ns
    count = min(SAMPLE, len(cached)) if same_date else len(cached)
    for index in np.linspace(0, len(cached) - 1, count).astype(int):
        if not cached.is_whole(index):
            raise Refused(f"image {index} was altered")
    if not same_date:
        with suppress(OSError):  # a read-only cache: the next start compares again
            records.write(folder / ABOUT, replace(about, modified_ns=state.st_mtime_ns))
    return cached
