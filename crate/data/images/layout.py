"""Trees of image folders, one per class, in the layouts that can be read.

    train/<class>/   val/<class>/               the usual one
    train.X1/<class>/ ... train.X4/   val.X/    ImageNet-100 as Kaggle gives it, with Labels.json

If both layouts are present, the first is read. Every file with the suffix of an image is read, at
any depth below a class folder. Not read: names that begin with a dot (macOS and notebooks create
them), files of another suffix, files beside the class folders.

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
    """Return the folders that hold the class folders of a split, in the order of their names.

    Raise UserError if there is none; `how_to_get` describes how to get a published set.
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
    """Return the names of the class folders, sorted.

    Raise UserError if a split has none, or the two have different ones.
    """
    names = {}
    for split in SPLITS:
        folders = split_folders(root, split, how_to_get)
        names[split] = classes_of(folders)
        if not names[split]:
            raise UserError(
                f"{shorten(map(str, folders), 4)} has no class folders", "one folder per class"
            )
    odd = sorted(set(names["train"]) ^ set(names["val"]))
    if odd:
        raise UserError(
            f"classes differ between train/ and val/ in {root}: {shorten(odd, 5)}",
            "the same class folders in both",
        )
    return names["train"]


def classes_of(folders: list[Path]) -> list[str]:
    """Return the names of the class folders below `folders`, each once, sorted."""
    entries = (entry for folder in folders for entry in os.scandir(folder))
    return sorted({entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."})


def image_files(folders: list[Path], name: str) -> Iterator[tuple[str, bool]]:
    """Yield (path, whether its suffix is an image's) of a class's files, in a defined order."""
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
    """Return class folder -> name in words, from Labels.json; {} if there is no such file.

    Raise UserError if the file is no JSON object of texts.
    """
    path = root / LABELS
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text())
        if isinstance(values, dict) and all(isinstance(text, str) for text in values.values()):
            return values
        reason = "it is not an object of texts"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise UserError(
        f"{path} cannot be read: {reason}",
        '{"n01440764": "tench, Tinca tinca", ...}',
        "another, or none",
    )
