"""Images in folders, one a class."""

from __future__ import annotations

from pathlib import Path

from crate.data.images import layout
from crate.data.images.image_files import ImageFiles
from crate.data.images.unreadable import unreadable
from crate.errors import UserError, shorten


class Folder(ImageFiles):
    """RGB images and labels of one split of a folder; see `crate.data.images.layout`.

    Classes are numbered in the order of their folders' names, images in that of their paths.
    `classes` are the classes in words, of Labels.json where it is there; `notes` say what was left
    out. With `on_corrupt` "skip" `check` leaves out what cannot be read, so that the order of
    images is defined before training; else an unreadable one is an error when it is its turn.
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
        self.on_corrupt, self.where = on_corrupt, (where := shorten(map(str, folders), 4))
        if empty and self.paths:
            raise UserError(
                f"{len(empty)} class folder(s) of {where} hold no image: {shorten(empty, 5)}",
                "an image or more in each: " + " ".join(layout.SUFFIXES),
            )
        if others:
            self.notes.append(f"{where}: {others} file(s) that are no images left out")

    def check(self, place: Path | None = None) -> None:
        """Leaves out unreadable images where `on_corrupt` is "skip".

        All are decoded, once as long as no file changes: `place` keeps what was found.
        """
        if self.on_corrupt != "skip":
            return
        found, was_known = unreadable(self.paths, place)
        bad = [self.paths[index] for index in found]
        self.notes.append(
            f"{self.where}: {len(self.paths)} images checked{' before' if was_known else ''}, "
            f"{len(bad)} unreadable left out" + (f": {shorten(bad, 5)}" if bad else "")
        )
        for index in reversed(found):
            del self.paths[index], self.labels[index]
