"""Whether a run reads its images from a cache, and the splits that result."""

from __future__ import annotations

import logging
from pathlib import Path

from crate.config.schema import Data
from crate.data.cache.build import MARGIN, ensure, estimated_bytes, free_bytes
from crate.data.cache.files import ABOUT, Refused, fingerprint, open_cache
from crate.data.cache.setting import folder_of_caches
from crate.data.images.split import Split
from crate.data.source import Source
from crate.data.transforms import evaluation_resize, training_resize
from crate.errors import UserError

logger = logging.getLogger("crate")

FEW = 1_000  # images for which `auto` makes no cache
SHARE = 0.5  # of the free disk, which `auto` takes at most


def with_cache(
    splits: dict[str, Split], data: Data, outputs: str, decided: str | None = None
) -> tuple[dict[str, Split], str]:
    """Return the splits as the loop reads them, and "off" or the folder of their caches.

    "train" gives images whose shorter side is `data.cache_px`, from a cache or resized each time.
    The others give what evaluation resizes to, from a cache, or full-size images, for which the
    evaluation transform returns the same. `decided` is what `auto` was decided to be when the run
    first started. Raise UserError if `data.cache` cannot be followed.
    """
    plain = {name: Source(images, data.in_chans) for name, images in splits.items()}
    uncached: dict[str, Split] = {**plain}
    if not all(source.has_files for source in plain.values()):
        if data.cache_px is not None:
            raise UserError(
                f"data.cache={data.cache} data.cache_px={data.cache_px}, and {data._target_} "
                "names no files",
                "a data set of image files, with `paths` and `labels`",
                "data.cache=off data.cache_px=null",
            )
        return uncached, "off"
    resizes = {name: evaluation_resize(data) for name in splits} | {"train": training_resize(data)}
    resized = {
        name: Source(images, data.in_chans, resizes[name]) for name, images in splits.items()
    }
    uncached["train"] = resized["train"]
    if data.cache_px is None or data.cache == "off" or (data.cache == "auto" and decided == "off"):
        return uncached, "off"
    folder = folder_of_caches(data.cache, outputs)
    keys = {name: fingerprint(source, data.kwargs) for name, source in resized.items()}
    absent = [
        source for name, source in resized.items() if not (folder / keys[name] / ABOUT).exists()
    ]
    count = sum(len(source) for source in resized.values())
    if data.cache == "auto" and absent and not _is_worth_it(absent, count, folder):
        return uncached, "off"
    cached: dict[str, Split] = {
        name: ensure(source, folder / keys[name], keys[name], data.workers)
        for name, source in resized.items()
    }
    return cached, str(folder)


def from_cache(images: Split, data: Data, outputs: str) -> Split:
    """Return evaluation images from the cache that a run made of them, if there is one.

    None is built: images that are read once are not worth it.
    """
    plain, folder = Source(images, data.in_chans), folder_of_caches(data.cache, outputs)
    if data.cache == "off" or not plain.has_files or not folder.is_dir():
        return plain
    resized = Source(images, data.in_chans, evaluation_resize(data))
    key = fingerprint(resized, data.kwargs)
    try:
        cached = open_cache(folder / key, key, plain.notes)
    except Refused as refused:
        if str(refused):
            logger.warning("the cache %s is not used: %s", folder / key, refused)
        return plain
    logger.info("reading images from the cache %s", cached.folder)
    return cached


def _is_worth_it(absent: list[Source], count: int, folder: Path) -> bool:
    """Decide for `auto` whether to build the `absent` of the caches of `count` images in all.

    If not, log the reason.
    """
    if count < FEW:
        logger.info("no cache for fewer than %s images; data.cache=on makes one", f"{FEW:,}")
        return False
    needed, free = sum(map(estimated_bytes, absent)) * MARGIN, free_bytes(folder)
    if needed > free * SHARE:
        logger.warning(
            "no cache: it would take %.3g of the %.3g GB free in %s; data.cache=FOLDER names "
            "another disk, data.cache=on takes this one",
            needed / 1e9,
            free / 1e9,
            folder,
        )
        return False
    return True
