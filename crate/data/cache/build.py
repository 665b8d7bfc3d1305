"""Builds a cache: once, whole or not at all, however many processes ask for it at once."""

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
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from crate.data.cache.files import ABOUT, FORMAT, IMAGES, INDEX, Cached, Refused, open_cache
from crate.data.loading.workers import ignore_signals
from crate.data.source import Source
from crate.errors import UserError
from crate.run import provenance
from crate.run.console import Bar
from crate.run.ownership import held
from crate.run.records import read_json, whole_file, write_json

logger = logging.getLogger("crate")

SAY_EVERY_S = 30.0
CHUNK = 32  # images that a worker hands over at once
SAMPLE = 64  # images whose sizes the estimate reads
MARGIN = 1.05
ELSEWHERE = "CRATE_CACHE=FOLDER, data.cache=FOLDER, or data.cache=off"
FULL = (errno.ENOSPC, errno.EDQUOT)
Chunk = tuple[Tensor, np.ndarray]  # bytes of its images; (n, 4): height, width, label, crc32


def ensure(source: Source, folder: Path, key: str, workers: int | None = None) -> Cached:
    """Returns the cache of `source` in `folder`, built by this process or awaited from another.

    Raises UserError where an image is unreadable, the disk too full or not to be written.
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
                    raise  # else we slept, and who took over removed what we had written


def _build_if_needed(source: Source, folder: Path, key: str, workers: int | None) -> None:
    try:
        open_cache(folder, key)  # another may have finished it before we had the lock
        return
    except Refused as refused:
        if str(refused):
            logger.warning("the cache %s is refused and built anew: %s", folder, refused)
    for left in (folder / ABOUT, folder / INDEX, folder / IMAGES, *folder.glob(".*.tmp")):
        left.unlink(missing_ok=True)
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
    """Says which caches of the same images there are: outdated, or made with other settings."""
    for about in folder.parent.glob(f"*/{ABOUT}"):
        values = read_json(about)
        if values.get("from") == source.top:
            size = sum(file.stat().st_size for file in about.parent.iterdir()) / 1e9
            logger.warning(
                "%s was made of %s as it was then, or with other settings: %.2f GB to remove "
                "where no run needs them",
                about.parent,
                source.top,
                size,
            )


def _write(source: Source, folder: Path, key: str, workers: int | None) -> int:
    """Writes the three files, last the one that makes them valid; returns the images' bytes."""
    rows, offset = [], 0
    with whole_file(folder / IMAGES) as file, Bar(0, len(source)) as bar:
        said = time.monotonic()
        for pixels, of_chunk in _chunks(source, workers):
            file.write(pixels.numpy())
            for height, width, label, checksum in of_chunk.tolist():
                rows.append((offset, height, width, label, checksum))
                offset += height * width * source.num_channels
            bar.update(len(rows), "cache")
            if not bar.is_seen and time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                logger.info("cache: %s of %s images", f"{len(rows):,}", f"{len(source):,}")
    with whole_file(folder / INDEX) as file:
        np.save(file, np.array(rows, np.int64).reshape(-1, 5))
    state = os.stat(folder / IMAGES)
    assert state.st_size == offset, (state.st_size, offset)
    about = {
        "format": FORMAT,
        "fingerprint": key,
        "num_images": len(rows),
        "channels": source.num_channels,
        "bytes": offset,
        "modified_ns": state.st_mtime_ns,
        "index_sha256": sha256((folder / INDEX).read_bytes()).hexdigest(),
        "resize": list(getattr(source.resize, "size", None) or []),
        "from": source.top,
        "torch": torch.__version__,
    }
    write_json(folder / ABOUT, about)
    return offset


def _chunks(source: Source, workers: int | None) -> Iterator[Chunk]:
    """Yields the images in order, prepared by worker processes, which end with this one."""
    loader = DataLoader(
        _Resized(source),
        batch_sampler=[
            list(range(first, min(first + CHUNK, len(source))))
            for first in range(0, len(source), CHUNK)
        ],
        collate_fn=_join,
        num_workers=provenance.cores() if workers is None else workers,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # else it draws from the run's own
    )
    for chunk in loader:
        if isinstance(chunk, UserError):
            raise chunk
        yield chunk


class _Resized:
    """The images of a source, or the UserError that one is, which comes so without a traceback."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | UserError:
        try:
            return self.source[index]
        except UserError as error:
            return error


def _join(items: list[Any]) -> Chunk | UserError:
    """Returns images (C, H, W) as one run of bytes, each (H, W, C), and their rows of the index."""
    flat, rows = [], []
    for item in items:
        if isinstance(item, UserError):
            return item
        image, label = item
        pixels = image.permute(1, 2, 0).reshape(-1)  # (H * W * C,)
        flat.append(pixels)
        rows.append((*image.shape[1:], label, zlib.crc32(pixels.numpy())))
    return torch.cat(flat), np.array(rows, np.int64)


def estimated_bytes(source: Source) -> int:
    """Returns what the cache will take, from the sizes in the headers of a sample of the images."""
    paths, sides = source.paths, list(getattr(source.resize, "size", None) or [])
    areas = []
    for index in np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int):
        try:
            with Image.open(paths[index]) as image:
                short, long = sorted(image.size)
        except Exception:  # unreadable: building says so
            continue
        if len(sides) == 2:
            short, long = sides
        elif sides:
            short, long = sides[0], sides[0] * long / short
        areas.append(short * long)
    mean = sum(areas) / len(areas) if areas else 0
    return round(len(paths) * mean * source.num_channels)


def free_bytes(folder: Path) -> int:
    """Returns the room on the disk of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_room(folder: Path, needed: int) -> None:
    """Raises UserError where a cache of `needed` bytes leaves no room on its disk."""
    if needed * MARGIN > free_bytes(folder):
        raise _too_full(folder, needed)


def _too_full(folder: Path, needed: int) -> UserError:
    return UserError(
        f"the cache {folder} takes about {needed / 1e9:.3g} GB, and its disk has "
        f"{free_bytes(folder) / 1e9:.3g} GB free",
        f"{needed * MARGIN / 1e9:.3g} GB free, or a smaller data.cache_px",
        ELSEWHERE,
    )
