"""A cache on disk, and how one is told from a torn, an outdated or an altered one.

    <folder of caches>/<fingerprint>/
        images.u8        all images one after the other, each (height, width, channels)
        index.npy        (N, 5) int64: offset, height, width, label, crc32 of an image's bytes
        cache.json       what it was made of, and how long the files are; written last
        owner-<n>.json   who builds it; see crate/run/ownership.py

The images are mapped: a crop reads what it needs and no more, out of the one copy that all
processes share in the page cache. What a process has looked at is unmapped now and then, so that
its resident memory stays as it is. The map is private: an augmentation that wrote to an image in
place would change no file. Never shorten images.u8 in place under running jobs: building anew
makes a new file, and they keep the old.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crate.data.source import Source
from crate.run.records import read_json, write_json

FORMAT = 1
IMAGES, INDEX, ABOUT = "images.u8", "index.npy", "cache.json"
SAMPLE = 16  # images whose checksum every start compares
DIGITS = 16
MAPPED = 32 * 2**20  # bytes that a process looks at before it unmaps them


class Refused(Exception):
    """Why a cache cannot be used; "" where there is none."""


class Cached:
    """Images of a split as uint8 tensors (C, H, W), and labels, out of a cache."""

    def __init__(self, folder: Path, channels: int, notes: list[str] | None = None) -> None:
        self.folder, self.channels, self.notes = folder, channels, notes or []
        self._open()

    def _open(self) -> None:
        self._index = np.load(self.folder / INDEX, mmap_mode="r")  # (N, 5)
        with open(self.folder / IMAGES, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._seen = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "channels": self.channels, "notes": self.notes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state  # a spawned worker opens the files for itself
        self._open()

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        offset, height, width, label, _ = self._index[index].tolist()
        pixels = self._look(offset, height * width * self.channels)
        shape = (height, width, self.channels)
        return torch.from_numpy(pixels.reshape(shape)).permute(2, 0, 1), label

    def _look(self, offset: int, size: int) -> np.ndarray:
        """Returns a view of the file; earlier views stay valid, their pages come back if needed."""
        self._seen += size
        if self._seen > MAPPED and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._seen = size
        return self._bytes[offset : offset + size]

    def is_whole(self, index: int) -> bool:
        """Tells whether an image's bytes are those that were written."""
        offset, height, width, _, checksum = self._index[index].tolist()
        return zlib.crc32(self._look(offset, height * width * self.channels)) == checksum


def fingerprint(source: Source, arguments: dict[str, Any] | None = None) -> str:
    """Return the hash of what a cache is made of: every file and its label, and the settings.

    A file counts by its name, size and modification time, so that one which is replaced in place
    makes another cache. Names count from the folder that all files share: a data set that is moved,
    or copied with its times, keeps its cache. `arguments` are those of a user's own data set.
    """
    paths, top, digest = source.paths, source.top, sha256()
    # torchvision's Resize has `size`: [shorter side], or [height, width]
    size = getattr(source.resize, "size", None)
    kind = f"{type(source.images).__module__}.{type(source.images).__qualname__}"
    settings = [FORMAT, kind, arguments or {}, source.num_channels, list(size or [])]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for path, label in zip(paths, source.labels, strict=True):
        name = os.path.relpath(path, top) if "/../" in path else path[len(top) + 1 :]
        state = os.stat(path)
        digest.update(json.dumps([name, state.st_size, state.st_mtime_ns, label]).encode())
    return digest.hexdigest()[:DIGITS]


def open_cache(folder: Path, key: str, notes: list[str] | None = None) -> Cached:
    """Returns the cache in `folder`; raises Refused where there is none or it is not whole.

    Every start compares the format, the sizes of the files, the index and a sample of the images;
    where the file of images has another date, as after a copy, all of them.
    """
    about = read_json(folder / ABOUT)
    if not about:
        torn = (folder / IMAGES).exists() or any(folder.glob(".*.tmp"))
        raise Refused("its building was cut off" if torn else "")
    if about.get("format") != FORMAT or about.get("fingerprint") != key:
        raise Refused("it is outdated: another version, or other images")
    try:
        state = os.stat(folder / IMAGES)
        if state.st_size != about["bytes"]:
            raise Refused(f"images.u8 holds {state.st_size:,} of {about['bytes']:,} bytes")
        if sha256((folder / INDEX).read_bytes()).hexdigest() != about["index_sha256"]:
            raise Refused("index.npy was altered")
        cached = Cached(folder, about["channels"], notes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"it is torn: {error}") from error
    same_date = state.st_mtime_ns == about.get("modified_ns")
    count = min(SAMPLE, len(cached)) if same_date else len(cached)
    for index in np.linspace(0, len(cached) - 1, count).astype(int):
        if not cached.is_whole(index):
            raise Refused(f"image {index} was altered")
    if not same_date:
        with suppress(OSError):  # another's, that we only read: the next start compares again
            write_json(folder / ABOUT, about | {"modified_ns": state.st_mtime_ns})
    return cached
