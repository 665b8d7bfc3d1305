"""Downloads of published sets: torchvision's, made whole or not at all, and safe among processes.

    <root>/.download/owner-<n>.json   who downloads; see crate/run/ownership.py
    <root>/.download/files/           archives, and what is unpacked of them, until all is whole

One process downloads, the others wait and say so. What a killed process left is cleared by the
next, which takes over at once on the same machine and after five minutes on another; archives that
are whole by torchvision's checksum are not fetched again.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from crate.data.published.descriptor import Published
from crate.errors import UserError
from crate.run.ownership import held

logger = logging.getLogger("crate")

ARCHIVES = (".tgz", ".gz")


def ensure(published: Published, root: Path, download: bool) -> None:
    """Return once a set is in `root`, downloaded and unpacked there if it was missing.

    Raise UserError if that fails or `download` forbids it.
    """
    if not download:
        published.require(root)
    if not published.missing(root):
        return
    work, what = root / ".download", f"{published.name} in {root}: another process downloads it"
    with held(work, what, fix="data.root=FOLDER"):
        if published.missing(root):  # otherwise another process downloaded it meanwhile
            _download(published, root, work / "files")


def _download(published: Published, root: Path, files: Path) -> None:
    name = published.name
    logger.info("downloading %s to %s", name, root)
    _keep_archives(files)
    try:
        _fetch(published, files)
    except Exception as error:  # urllib's, tarfile's, torchvision's RuntimeError of a checksum
        reason = getattr(error, "reason", None) or str(error).strip() or type(error).__name__
        raise UserError(
            f"{name} could not be downloaded: {' '.join(str(reason).split())}",
            f"a network, or torchvision's files of the set in {root}, brought by hand",
            "data.root=FOLDER",
        ) from error
    for archive in [each for each in files.rglob("*") if each.name.endswith(ARCHIVES)]:
        archive.unlink()
    for folder in files.iterdir():
        if folder.is_dir():
            _move(folder, root / folder.name)
    shutil.rmtree(files)
    if left := published.missing(root):
        raise UserError(f"the download of {name} lacks {left[0]}", "data.root=FOLDER")


def _fetch(published: Published, folder: Path) -> None:
    """Have torchvision download a set to `folder` and unpack it there."""
    from torchvision import datasets

    assert published.torchvision is not None, published.name
    getattr(datasets, published.torchvision.dataset)(str(folder), download=True)


def _keep_archives(files: Path) -> None:
    """Removes what a killed process had unpacked so far, and makes the folder."""
    for parent, _, names in os.walk(files, topdown=False):
        for each in names:
            if not each.endswith(ARCHIVES):
                os.unlink(os.path.join(parent, each))
        if not os.listdir(parent):
            os.rmdir(parent)
    files.mkdir(exist_ok=True)


def _move(new: Path, place: Path) -> None:
    """Puts an unpacked folder in its place at once; a part that lay there makes room."""
    if place.exists():
        old, number = place, 1
        while (aside := old.with_name(f"{old.name}-old-{number}")).exists():
            number += 1
        old.rename(aside)
        logger.info("set aside: %s", aside)
    new.rename(place)
