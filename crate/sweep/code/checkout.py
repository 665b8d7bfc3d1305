"""The code of a checkout, read into memory for a snapshot, with neither results nor secrets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from crate.errors import UserError
from crate.run import provenance
from crate.sweep.code.code_files import code_files, real
from crate.sweep.code.copies import Copy

MAX_MB = 50  # 1e6 bytes


def read_checkout(checkout: Path, outputs: Path, excluded: Sequence[Path]) -> dict[str, Copy]:
    """Return the code of a checkout by name, without anything below `outputs` and `excluded`.

    Raise UserError if that is more than 50 MB.
    """
    left_out = _left_out(checkout, outputs, excluded)
    sizes: dict[str, int] = {}
    copies: dict[str, Copy] = {}
    for name in code_files(checkout, left_out):
        path, target = checkout / name, real(checkout / name)
        beyond_link = real(path.parent) != path.parent  # git's index is older than the link
        if beyond_link or _is_left_out(path, target, checkout, left_out):
            continue
        if target.is_file():
            sizes[name] = target.stat().st_size
        elif target.is_dir() and path.is_symlink():
            inside = target.is_relative_to(checkout)
            copies[name] = Copy.link(
                os.path.relpath(target, path.parent) if inside else str(target)
            )
    _require_small(checkout, sizes)
    for name in sizes:  # a link to a file becomes the file
        copies[name] = Copy((checkout / name).stat().st_mode, (checkout / name).read_bytes())
    return copies


def _left_out(checkout: Path, outputs: Path, excluded: Sequence[Path]) -> set[Path]:
    """Return the folders to leave out; of one around the checkout only the results are left out."""
    folders = (outputs, outputs / "code", outputs / "runs", *excluded)
    absolute = {real(checkout / folder) for folder in folders}
    return {folder for folder in absolute if not checkout.is_relative_to(folder)}


def _is_left_out(path: Path, target: Path, checkout: Path, left_out: set[Path]) -> bool:
    """Tell whether a file, or what it links to, is a secret or lies among results or data."""
    inside = target.is_relative_to(checkout)
    names = target.relative_to(checkout).parts if inside else (target.name,)
    names += path.relative_to(checkout).parts
    return (
        path == checkout / provenance.SNAPSHOT_FILE
        or any(fnmatchcase(name.lower(), key) for name in names for key in provenance.SECRET_FILES)
        or any(each.is_relative_to(folder) for folder in left_out for each in (path, target))
    )


def _require_small(checkout: Path, sizes: dict[str, int]) -> None:
    """Raise UserError, with the largest files, if there is more than code."""
    total_mb = sum(sizes.values()) / 1e6
    if total_mb <= MAX_MB:
        return
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    rows = "".join(f"\n    {sizes[name] / 1e6:8.1f} MB  {name!r}" for name in largest)
    raise UserError(
        f"the code in {checkout} takes {total_mb:.1f} MB; the largest files:{rows}",
        f"up to {MAX_MB} MB; data and weights lie elsewhere",
        "git rm --cached FILE and a line in .gitignore, or move it out and set data.root=FOLDER",
    )
