"""Facts about a data set that its files tell before training: its identity and its size.

Imports no torch, so that a launch can identify data at once.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from crate.config.schema import Data, Folder
from crate.data.images import layout
from crate.data.images.layout import SPLITS
from crate.data.published import PUBLISHED, name_of
from crate.errors import UserError

DIGITS = 12  # hexadecimal; 48 bits


def identity(data: Data) -> dict[str, Any] | None:
    """Return what identifies the data beyond its configuration, as JSON values.

    A published set is identified by its name alone: None. A user's own folder is identified by its
    class names and, for each split, its number of files and their bytes; where it is has no effect.
    """
    if not isinstance(data, Folder) or data.published:
        return None
    sizes = {
        split: [sum(tree.files for tree in trees), sum(tree.size for tree in trees)]
        for split, trees in _trees(data).items()
    }
    return {"classes": layout.class_names(_root(data)), **sizes}


def stamp(data: Data) -> dict[str, Any] | None:
    """Return a hash that changes if files of the data change in place, as JSON values.

    For a user's own folder this is a hash of each file's name, size and modification time; it is
    no part of the identity, because a copy of the data may have other times. None for other data.
    """
    if not isinstance(data, Folder) or data.published:
        return None
    trees = [tree for split in _trees(data).values() for tree in split]
    digest = sha256("".join(tree.digest for tree in trees).encode()).hexdigest()
    return {"files": sum(tree.files for tree in trees), "digest": digest[:DIGITS]}


def split_errors(data: Data) -> list[UserError]:
    """Return the error of a `data.val_fraction` that leaves a split without an image, if any."""
    counts = num_images(data) if data.val_fraction else None
    if counts is None or (counts["train"] > 0 and counts["val"] > 0):
        return []
    return [empty_split(data.val_fraction, counts["train"] + counts["val"])]


def empty_split(val_fraction: float, num_images: int) -> UserError:
    """Return the error of a `val_fraction` of `num_images` that leaves a split empty."""
    return UserError(
        f"data.val_fraction={val_fraction:g} of {num_images} images leaves a split empty",
        "an image or more in each",
        "data.val_fraction=0.1",
    )


def num_images(data: Data) -> dict[str, int] | None:
    """Return the number of images of each split, {"train": .., "val": ..}, without reading any.

    With `data.val_fraction` these are the two parts of the training split, and "test" is the
    evaluation split, as in `crate.data.splits.load_splits`. A published set of known size needs no
    files. The images of other folders are counted, once a process, and the unreadable ones that
    `data.on_corrupt=skip` leaves out are counted too. None for a user's own target, which has to be
    built to be counted.
    """
    if data.is_own:
        return None
    row = PUBLISHED.get(name_of(data) or "")
    if row is not None and row.num_images is not None:
        whole = row.num_images
    else:
        whole = {split: count_images(_root(data), split) for split in SPLITS}
    if not data.val_fraction:
        return dict(whole)
    num_val = round(data.val_fraction * whole["train"])
    return {"train": whole["train"] - num_val, "val": num_val, "test": whole["val"]}


@cache
def count_images(root: Path, split: str, at_most: int | None = None) -> int:
    """Return the number of images of a split of a tree, counted up to `at_most`, once a process."""
    return layout.count_images(root, split, at_most)


class Tree(NamedTuple):
    """The files below a folder: their number, their bytes, and a hash of names, sizes and times."""

    files: int
    size: int
    digest: str


def _root(data: Data) -> Path:
    root = getattr(data, "root", None)
    assert root is not None, "crate.data.completion fills it in"
    return Path(root)


def _trees(data: Folder) -> dict[str, list[Tree]]:
    """Return the trees of each split."""
    root = _root(data)
    return {split: [_walk(f) for f in layout.split_folders(root, split)] for split in SPLITS}


@cache
def _walk(folder: Path) -> Tree:
    """Return the tree below a folder, which is walked once a process."""
    files = size = 0
    digest = sha256()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        digest.update(os.fsencode(f"{os.path.relpath(parent, folder)}\0"))
        for name in sorted(names):
            state = os.stat(os.path.join(parent, name))
            files, size = files + 1, size + state.st_size
            digest.update(os.fsencode(f"{name}\0{state.st_size} {state.st_mtime_ns}\0"))
    return Tree(files, size, digest.hexdigest())


def forget() -> None:
    """Clear the facts cached in this process, since files may change before its next run."""
    for function in (_walk, count_images):
        function.cache_clear()
