"""What `data.cache` says, and where caches lie.

`data.cache_px` belongs to a run's identity: a run whose training images are first resized learns
something else than one that crops full-size images. `data.cache` does not: it says whether the
resized images are read from a file or made anew each time, which are the same images. So `auto`
may turn out differently on another machine and no result with it.

Caches lie in CRATE_CACHE where this variable is set, else in <outputs>/cache: data folders are
often read-only, and shared with others who did not ask for another 250 GB in them.

Imports no torch.
"""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from crate.config.schema import ON_OFF, evaluation_px
from crate.paths import absolute

WORDS = ("auto", "on", "off")


def complete_cache(data: DictConfig) -> None:
    """Makes `cache` a word or an absolute folder, and fills `cache_px` where a cache is asked for.

    What cannot be filled for want of a proper `img_size` is left to the checks of values.
    """
    try:
        text = str(data.cache)
        word = ON_OFF.get(text.lower(), text.lower())
        data.cache = word if word in WORDS else str(absolute(text))
        if data.cache not in ("auto", "off") and data.cache_px is None:
            data.cache_px = evaluation_px(data)
    except (OmegaConfBaseException, ArithmeticError, TypeError, ValueError):
        pass


def folder_of_caches(cache: str, outputs: str) -> Path:
    """Returns the folder that holds the caches of a run."""
    if cache not in WORDS:
        return Path(cache)
    return absolute(os.environ.get("CRATE_CACHE") or Path(outputs, "cache"))
