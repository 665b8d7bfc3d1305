"""Whether a run reads its images from a cache, and the splits that it then trains on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from crate.config.schema import Data
from crate.data.cache.build import MARGIN, ensure, estimated_bytes, free_bytes
from crate.data.cache.files import ABOUT, Refused, fingerprint, open_cache
from crate.data.cache.setting import folder_of_caches
from crate.data.source import Source
from crate.data.transforms import evaluation_resize, training_resize
from crate.errors import UserError

logger = logging.getLogger("crate")

FEW = 1_000  # images that are not worth a cache unless it is asked for
SHARE = 0.5  # of the free disk, that `auto` takes at most


def with_cache(
    splits: dict[str, Any], data: Data, outputs: str, decided: str | None = None
) -> tuple[dict[str, Any], str]:
    """Returns the splits as the loop reads them, and "off" or the folder of their caches.

    "train" gives images whose shorter side is `data.cache_px`, from a cache or resized each time;
    the others give from a cache what evaluation resizes to, else full-size images: the same to
    the transform of evaluation. `decided` is what `auto` became when the run first started.
    Raises UserError where `data.cache` asks for what cannot be.
    """
    if not all(Source.fits(images) for images in splits.values()):
        if data.cache_px is not None:
            raise UserError(
                f"data.cache={data.cache} data.cache_px={data.cache_px}, and {data._target_} "
                "names no files",
                "a data set of image files, with `paths` and `labels`",
                "data.cache=off data.cache_px=null",
            )
        return splits, "off"
    resizes = {name: evaluation_resize(data) for name in splits} | {"train": training_resize(data)}
    sources = {
        name: Source(images, data.in_chans, resizes[name]) for name, images in splits.items()
    }
    place = folder_of_caches(data.cache, outputs)
    keys = {} if data.cache_px is None or data.cache == "off" else _keys(sources, data.kwargs)
    if not keys or (data.cache == "auto" and not _is_worth_it(sources, keys, place, decided)):
        plain = {name: Source(images, data.in_chans) for name, images in splits.items()}
        return plain | {"train": sources["train"]}, "off"
    cached = {
        name: ensure(source, place / keys[name], keys[name], data.workers)
        for name, source in sources.items()
    }
    return cached, str(place)


def from_cache(images: Any, data: Data, outputs: str) -> Any:
    """Returns evaluation images out of the cache that a run made of them, else as they are.

    Builds none: what is read once is not worth it.
    """
    if not Source.fits(images):
        return images
    plain, place = Source(images, data.in_chans), folder_of_caches(data.cache, outputs)
    if data.cache == "off" or not place.is_dir():
        return plain
    resized = Source(images, data.in_chans, evaluation_resize(data))
    key = fingerprint(resized, data.kwargs)
    try:
        cached = open_cache(place / key, key, plain.notes)
    except Refused as refused:
        if str(refused):
            logger.warning("the cache %s is refused: %s", place / key, refused)
        return plain
    logger.info("images out of the cache %s", cached.folder)
    return cached


def _keys(sources: dict[str, Source], arguments: dict[str, Any]) -> dict[str, str]:
    return {name: fingerprint(source, arguments) for name, source in sources.items()}


def _is_worth_it(
    sources: dict[str, Source], keys: dict[str, str], place: Path, decided: str | None
) -> bool:
    """Decides for `auto`, and says why not."""
    if decided == "off":
        return False
    absent = [
        source for name, source in sources.items() if not (place / keys[name] / ABOUT).exists()
    ]
    count = sum(map(len, absent))
    if absent and sum(map(len, sources.values())) < FEW:
        logger.info("no cache for fewer than %s images; data.cache=on makes one", f"{FEW:,}")
        return False
    needed, free = sum(map(estimated_bytes, absent)) * MARGIN, free_bytes(place)
    if count and needed > free * SHARE:
        logger.warning(
            "no cache: it would take %.3g of the %.3g GB free in %s; data.cache=FOLDER names "
            "another disk, data.cache=on takes this one",
            needed / 1e9,
            free / 1e9,
            place,
        )
        return False
    return True
