"""Images in folders, one a class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crate import provenance
from crate.config.errors import UserError, shorten
from crate.data import layout
from crate.data.image import read_pixels
from crate.data.image_files import ImageFiles


class Folder(ImageFiles):
    """RGB images and labels of one split of a tree; see `crate.data.layout` for what is read.

    Classes are numbered in the order of their folders' names, images in that of their paths.
    `classes` are the classes in words, of Labels.json where it is there; `notes` say what was left
    out. With `on_corrupt` "skip" every image is decoded once here, so that the order of images is
    defined before training; else an unreadable one is an error when it is its turn.
    Raises UserError for a class without images.
    """

    def __init__(self, split: str, root: str, on_corrupt: str = "error") -> None:
        folders, words = layout.split_folders(Path(root), split), layout.labels(Path(root))
        names, self.notes = layout.classes_of(folders), []
        self.classes = [words.get(name, name) for name in names]
        self.paths: list[str] = []
        self.labels: list[int] = []
        others, empty = 0, []
        for label, name in enumerate(names):
            files = list(layout.image_files(folders, name))
            paths = [path for path, is_image in files if is_image]
            others += len(files) - len(paths)
            empty += [] if paths else [name]
            self.paths += paths
            self.labels += [label] * len(paths)
        where = shorten(map(str, folders), 4)
        if empty and self.paths:
            raise UserError(
                f"{len(empty)} class folder(s) of {where} hold no image: {shorten(empty, 5)}",
                "an image or more in each: " + " ".join(layout.SUFFIXES),
            )
        if others:
            self.notes.append(f"{where}: {others} file(s) that are no images left out")
        if on_corrupt == "skip":
            self._leave_out_corrupt(where)

    def _leave_out_corrupt(self, where: str) -> None:
        with ThreadPoolExecutor(provenance.cores()) as pool:  # PIL decodes without the lock
            whole = list(pool.map(_is_readable, self.paths))
        bad = [path for path, good in zip(self.paths, whole, strict=True) if not good]
        self.notes.append(
            f"{where}: {len(self.paths)} images checked, {len(bad)} unreadable left out"
            + (f": {shorten(bad, 5)}" if bad else "")
        )
        self.labels = [label for label, good in zip(self.labels, whole, strict=True) if good]
        self.paths = [path for path, good in zip(self.paths, whole, strict=True) if good]


def _is_readable(path: str) -> bool:
    try:
        read_pixels(path)
    except UserError:
        return False
    return True
