"""The description of a published data set, which needs none of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crate.config.schema import Data
from crate.errors import UserError, shorten


@dataclass(frozen=True, kw_only=True)
class Torchvision:
    """How torchvision downloads and reads a set.

    `dataset` is the name of a class in `torchvision.datasets`; `train` and `val` are its arguments
    for the two splits. `paths` and `labels` are the attributes of that class which list the image
    files and their labels; they are None for a set that is held in memory.
    """

    dataset: str
    train: dict[str, Any]
    val: dict[str, Any]
    paths: str | None = None
    labels: str | None = None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published data set: its size, its files, where they are, and how to get them."""

    name: str  # of the set, of its YAML file and of its folder in CRATE_DATA
    schema: type[Data]  # of its configuration
    num_images: dict[str, int] | None = None  # of "train" and "val"; None: counted on disk
    is_in_memory: bool = False  # not image files, which could be cached
    torchvision: Torchvision | None = None  # None: torchvision does not download it
    files: tuple[str, ...] = ()  # names in the set's folder, all of which a download brings
    subfolders: tuple[str, ...] = ("",)  # each a folder that may hold the files
    system_folder: Path | None = None  # where a package of the system installs it
    how_to_get: str | None = None  # instructions, for a set that is not downloaded

    def __post_init__(self) -> None:
        if self.torchvision is not None:
            assert self.num_images is not None, "the images are not counted before a download"
            assert self.is_in_memory == (self.torchvision.paths is None), self.name

    def find(self, root: Path, name: str) -> Path | None:
        """Return the path of one of the `files` below `root`, plain or gzipped, or None."""
        folders = (root / subfolder for subfolder in self.subfolders)
        paths = (path for each in folders for path in (each / name, each / f"{name}.gz"))
        return next((path for path in paths if path.exists()), None)

    def missing(self, root: Path) -> list[str]:
        """Return those of the `files` that are not below `root`."""
        return [name for name in self.files if self.find(root, name) is None]

    def require(self, root: Path) -> None:
        """Raise UserError if a file is missing, for a set that may not be downloaded."""
        if absent := self.missing(root):
            raise UserError(
                f"no {self.name} in {root}: {shorten(absent, 4)} missing, and data.download=false",
                "a folder with torchvision's files of the set, or a download",
                "data.download=true, or data.root=FOLDER",
            )
