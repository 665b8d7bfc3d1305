"""Images in folders, one per class."""

from __future__ import annotations

from pathlib import Path

from crate.data.images import layout
from crate.data.images.image_files import ImageFiles
from crate.data.images.unreadable import unreadable
from crate.errors import UserError, shorten


class Folder(ImageFiles):
    """RGB images and labels of one split of a folder; see `crate.data.images.layout`.

    Classes are numbered in the order of their folders' names, images in the order of their paths.
    `classes` are the names of the classes, in words if there is a Labels.json; `notes` name the
    files that were left out. With `on_corrupt` "skip", `check` leaves out unreadable images, so
    that the order of images is defined before training. Otherwise an unreadable image is an error
    when it is read. Raise UserError for a class without images.
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
        self.on_corrupt, self.source = on_corrupt, (source := shorten(map(str, folders), 4))
        if empty and self.paths:
            raise UserError(
                f"{len(empty)} class folder(s) of {source} hold no image: {shorten(empty, 5)}",
                "an image or more in each: " + " ".join(layout.SUFFIXES),
            )
        if others:
            self.notes.append(f"{source}: {others} file(s) that are no images left out")

    def check(self, caches: Path | None = None) -> None:
        """Leave out unreadable images if `on_corrupt` is "skip".

        All are decoded, once until a file changes: the result is stored below the folder `caches`.
        """
        if self.on_corrupt != "skip":
            return
        indices, was_known = unreadable(self.paths, caches)
        bad = [self.paths[index] for index in indices]
        self.notes.append(
            f"{self.source}: {len(self.paths)} images checked{' before' if was_known else ''}, "
            f"{len(bad)} unreadable left out" + (f": {shorten(bad, 5)}" if bad else "")
        )
        for index in reversed(indices):
            del self.paths[index], self.labels[index]
