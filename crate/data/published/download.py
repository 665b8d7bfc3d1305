"""Downloads of published sets by torchvision: complete or not at all, and by one process.

    <root>/.download/owner-<n>.json   the process that downloads; see crate/run/ownership.py
    <root>/.download/files/           archives and unpacked files, until the set is complete

Other processes wait and log that. If the process is killed, the next one removes the unpacked files
and takes over, at once on the same machine and after five minutes on another. Archives whose
checksum is right are not downloaded again.
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
        raise UserError(f"the download of {name} lacks {left[0]}", fix="data.root=FOLDER")


def _fetch(published: Published, folder: Path) -> None:
    """Have torchvision download a set to `folder` and unpack it there."""
    from torchvision import datasets

    assert published.torchvision is not None, published.name
    getattr(datasets, published.torchvision.dataset)(str(folder), download=True)


def _keep_archives(files: Path) -> None:
    """Remove the files that a killed process unpacked, and make the folder."""
    for parent, _, names in os.walk(files, topdown=False):
        for each in names:
            if not each.endswith(ARCHIVES):
                os.unlink(os.path.join(parent, each))
        if not os.listdir(parent):
            os.rmdir(parent)
    files.mkdir(exist_ok=True)


def _move(new: Path, path: Path) -> None:
    """Move an unpacked folder to `path` in one step; an incomplete folder there is set aside."""
    if path.exists():
        old, number = path, 1
        while (aside := old.with_name(f"{old.name}-old-{number}")).exists():
            number += 1
        old.rename(aside)
        logger.info("set aside: %s", aside)
    new.rename(path)
