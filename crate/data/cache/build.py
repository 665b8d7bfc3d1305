"""The building of a cache: once, by one process, and whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crate.data.cache.files import ABOUT, FORMAT, IMAGES, INDEX, About, Cached, Refused, open_cache
from crate.data.loading.workers import prepare
from crate.data.source import Source
from crate.errors import UserError
from crate.run import provenance, records
from crate.run.console import Bar
from crate.run.ownership import held
from crate.run.records import Unreadable, whole_file

logger = logging.getLogger("crate")

LOG_EVERY_S = 30.0
CHUNK = 32  # images that a worker returns at once
SAMPLE = 64  # images whose sizes the estimate reads
MARGIN = 1.05
ELSEWHERE = "CRATE_CACHE=FOLDER, data.cache=FOLDER, or data.cache=off"
FULL = (errno.ENOSPC, errno.EDQUOT)
Chunk = tuple[Tensor, np.ndarray]  # the bytes of n images; (n, 4): height, width, label, crc32


def ensure(source: Source, folder: Path, key: str, workers: int | None = None) -> Cached:
    """Return the cache of `source` in `folder`, built by this process or by another.

    Raise UserError if an image is unreadable, or the disk is full or read-only.
    """
    while True:
        try:
            return open_cache(folder, key, source.notes)
        except Refused:
            pass
        with held(folder, f"the cache {folder}: another process builds it", fix=ELSEWHERE) as lock:
            try:
                _build_if_needed(source, folder, key, workers)
            except FileNotFoundError:
                if lock.is_held():
                    raise  # otherwise this process slept, and the next owner removed its files


def _build_if_needed(source: Source, folder: Path, key: str, workers: int | None) -> None:
    try:
        open_cache(folder, key)  # another process may have built it before we had the lock
        return
    except Refused as refused:
        if str(refused):
            logger.warning("the cache %s is built again: %s", folder, refused)
    for file in (folder / ABOUT, folder / INDEX, folder / IMAGES, *folder.glob(".*.tmp")):
        file.unlink(missing_ok=True)
    require_room(folder, estimated_bytes(source))
    _name_others(folder, source)
    logger.info("building the cache %s: %s images, once", folder, f"{len(source):,}")
    started = time.monotonic()
    try:
        size = _write(source, folder, key, workers)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _too_full(folder, estimated_bytes(source)) from error
    logger.info("built: %.2f GB in %.0f s", size / 1e9, time.monotonic() - started)


def _name_others(folder: Path, source: Source) -> None:
    """Log which caches of the same images there are: outdated, or made with other settings."""
    for path in folder.parent.glob(f"*/{ABOUT}"):
        try:
            about = records.read(About, path)
        except Unreadable:
            continue
        if about is not None and about.made_of == source.top:
            size = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e9
            logger.warning(
                "%s was made of %s as it was then, or with other settings: %.2f GB to remove "
                "where no run needs them",
                path.parent,
                source.top,
                size,
            )


def _write(source: Source, folder: Path, key: str, workers: int | None) -> int:
    """Write the three files, last the one that makes them valid; return the images' bytes."""
    rows, offset = [], 0
    with whole_file(folder / IMAGES) as file, Bar(0, len(source)) as bar:
        logged = time.monotonic()
        for pixels, chunk_rows in _chunks(source, workers):
            file.write(pixels.numpy().data)
            for height, width, label, checksum in chunk_rows.tolist():
                rows.append((offset, height, width, label, checksum))
                offset += height * width * source.num_channels
            bar.update(len(rows), "cache")
            if not bar.is_seen and time.monotonic() - logged > LOG_EVERY_S:
                logged = time.monotonic()
                logger.info("cache: %s of %s images", f"{len(rows):,}", f"{len(source):,}")
    with whole_file(folder / INDEX) as file:
        np.save(file, np.array(rows, np.int64).reshape(-1, 5))
    state = os.stat(folder / IMAGES)
    assert state.st_size == offset, (state.st_size, offset)
    about = About(
        format=FORMAT,
        fingerprint=key,
        num_images=len(rows),
        channels=source.num_channels,
        bytes=offset,
        modified_ns=state.st_mtime_ns,
        index_sha256=sha256((folder / INDEX).read_bytes()).hexdigest(),
        resize=source.resized_to,
        source=source.top,
        torch=torch.__version__,
    )
    records.write(folder / ABOUT, about)
    return offset


def _chunks(source: Source, workers: int | None) -> Iterator[Chunk]:
    """Yield the images in order, prepared by worker processes, which end with this one."""
    num_images = len(source)
    ranges = [range(first, min(first + CHUNK, num_images)) for first in range(0, num_images, CHUNK)]
    return prepare(_Chunks(source), ranges, provenance.cores() if workers is None else workers)


class _Chunks:
    """The chunk of a range of a source's images: bytes, (H, W, C) each, and rows of the index."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, indices: range) -> Chunk:
        pixels, rows = [], []
        for index in indices:
            image, label = self.source[index]
            pixels.append(image.permute(1, 2, 0).reshape(-1))  # (H * W * C,)
            rows.append((*image.shape[1:], label, zlib.crc32(pixels[-1].numpy().data)))
        return torch.cat(pixels), np.array(rows, np.int64)


def estimated_bytes(source: Source) -> int:
    """Estimate the size of the cache from the headers of a sample of the images."""
    paths, sides = source.paths, source.resized_to
    areas: list[float] = []
    for index in np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int):
        try:
            with Image.open(paths[index]) as image:
                short, long = sorted(map(float, image.size))
        except Exception:  # unreadable, which building reports
            continue
        if len(sides) == 2:
            short, long = sides
        elif sides:
            short, long = sides[0], sides[0] * long / short
        areas.append(short * long)
    mean = sum(areas) / len(areas) if areas else 0.0
    return round(len(paths) * mean * source.num_channels)


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(folder: Path, needed: int) -> None:
    """Raise UserError if a cache of `needed` bytes does not fit on its disk."""
    if needed * MARGIN > free_bytes(folder):
        raise _too_full(folder, needed)


def _too_full(folder: Path, needed: int) -> UserError:
    return UserError(
        f"the cache {folder} takes about {needed / 1e9:.3g} GB, and its disk has "
        f"{free_bytes(folder) / 1e9:.3g} GB free",
        f"{needed * MARGIN / 1e9:.3g} GB free, or a smaller data.cache_px",
        ELSEWHERE,
    )
