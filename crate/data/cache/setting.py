"""The setting `data.cache`, and where caches are.

`data.cache_px` belongs to a run's identity, because training on images that are first resized gives
another result than cropping full-size images. `data.cache` does not: it decides whether the resized
images are read from a file or made again each time, and they are the same images. So `auto` may be
decided differently on another machine without changing a result.

Caches are in CRATE_CACHE if this variable is set, otherwise in <outputs>/cache: data folders are
often read-only, and shared with people who did not ask for another 250 GB in them.

Imports no torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from crate.config.schema import ON_OFF, Data, evaluation_px
from crate.paths import absolute

WORDS = ("auto", "on", "off")


def complete_cache(data: DictConfig) -> None:
    """Make `cache` a word or an absolute folder, and fill `cache_px` if a cache is asked for.

    If `img_size` is wrong, leave the error to the checks of values.
    """
    try:
        text = str(data.cache)
        word = ON_OFF.get(text.lower(), text.lower())
        data.cache = word if word in WORDS else str(absolute(text))
        if data.cache not in ("auto", "off") and data.cache_px is None:
            data.cache_px = evaluation_px(cast(Data, data))
    except (OmegaConfBaseException, ArithmeticError, TypeError, ValueError):
        pass


def folder_of_caches(cache: str, outputs: str) -> Path:
    """Return the folder that holds the caches of a run."""
    if cache not in WORDS:
        return Path(cache)
    return absolute(os.environ.get("CRATE_CACHE") or Path(outputs, "cache"))
