"""Trees of image folders, one a class, in each layout that is read as it is.

    train/<class>/   val/<class>/               the usual one
    train.X1/<class>/ ... train.X4/   val.X/    ImageNet-100 as Kaggle gives it, with Labels.json

A split whose folder of the first kind is there is read from it alone. What is read: every file
with a suffix of an image, at any depth below a class folder. What is not: names that begin with a
dot (macOS and notebooks leave such), files of another suffix, files beside the class folders.

Imports no torch, so that a launch can check and identify data at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from crate.errors import UserError, shorten

SPLITS = ("train", "val")
SUFFIXES = tuple(".jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp".split())  # torchvision's
LABELS = "Labels.json"


def split_folders(root: Path, split: str, how_to_get: str | None = None) -> list[Path]:
    """Returns the folders that hold the class folders of a split, in the order of their names.

    Raises UserError where there is none; `how_to_get` says how a published set is had.
    """
    if (root / split).is_dir():
        return [root / split]
    parts = sorted(path for path in root.glob(f"{split}.X*") if path.is_dir())
    if parts:
        return parts
    raise UserError(
        f"there is no data in {root}: {root / split} is missing",
        how_to_get or "a folder with train/<class>/ and val/<class>/",
        "data.root=FOLDER",
    )


def class_names(root: Path, how_to_get: str | None = None) -> list[str]:
    """Returns the names of the class folders, which both splits must have; raises UserError."""
    found = {}
    for split in SPLITS:
        folders = split_folders(root, split, how_to_get)
        found[split] = classes_of(folders)
        if not found[split]:
            raise UserError(
                f"{shorten(map(str, folders), 4)} has no class folders", "one folder a class"
            )
    odd = sorted(set(found["train"]) ^ set(found["val"]))
    if odd:
        raise UserError(
            f"classes differ between train/ and val/ in {root}: {shorten(odd, 5)}",
            "the same class folders in both",
        )
    return found["train"]


def classes_of(folders: list[Path]) -> list[str]:
    """Returns the names of the class folders below `folders`, each once, sorted."""
    entries = (entry for folder in folders for entry in os.scandir(folder))
    return sorted({entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."})


def image_files(folders: list[Path], name: str) -> Iterator[tuple[str, bool]]:
    """Yields (path, whether its suffix is an image's) of a class's files, in a defined order."""
    for folder in folders:
        for parent, _, names in sorted(os.walk(folder / name, followlinks=True)):
            if "/." in parent[len(str(folder)) :]:
                continue
            for each in sorted(names):
                if each[0] != ".":
                    yield os.path.join(parent, each), each.lower().endswith(SUFFIXES)


def count_images(root: Path, split: str, at_most: int | None = None) -> int:
    """Return the number of images of a split, counted up to `at_most`; no file is opened."""
    folders = split_folders(root, split)
    files = (each for name in classes_of(folders) for each in image_files(folders, name))
    return sum(1 for _ in islice((path for path, is_image in files if is_image), at_most))


def labels(root: Path) -> dict[str, str]:
    """Returns class folder -> its name in words, of Labels.json; {} where there is none.

    Raises UserError where the file is no JSON object of texts.
    """
    path = root / LABELS
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text())
        if isinstance(values, dict) and all(isinstance(text, str) for text in values.values()):
            return values
        reason = "it is no object of texts"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise UserError(
        f"{path} cannot be read: {reason}",
        '{"n01440764": "tench, Tinca tinca", ...}',
        "another, or none",
    )
