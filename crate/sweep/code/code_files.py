"""Which files of a checkout are code: what git tracks, and what looks like it. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from crate.run import provenance

# No .json: one that git does not track is most often a result or data, and changes from launch to
# launch; `git add` says that it belongs to the code.
CODE = frozenset(".py .pyi .pyx .pxd .c .cc .cpp .cu .cuh .h .hpp .sh .yaml .yml .toml".split())
WITHOUT_GIT = CODE | {".txt", ".cfg"}


def real(path: Path) -> Path:
    """Return the absolute path of a file or folder, with all links followed."""
    return Path(os.path.realpath(path))


def code_files(folder: Path, excluded: set[Path]) -> set[str]:
    """Return the names of a folder's code files, relative to it, without those below `excluded`.

    Git lists a repository within the repository only as a folder, so that is listed separately.
    """
    if provenance.is_snapshot(folder):
        return _walk(folder, excluded)
    is_root = provenance.git(folder, "rev-parse", "--show-prefix") == b"\n"
    tracked = provenance.git(folder, "ls-files", "-z", "--cached") if is_root else None
    if tracked is None:
        return _walk(folder, excluded)
    untracked = provenance.git(folder, "ls-files", "-z", "-o", "--exclude-standard") or b""
    names = set()
    for name in _split(tracked):
        names |= _within(folder, name, excluded) or {name}
    others = _split(untracked)
    marked = tuple(name[: -len("pyvenv.cfg")] for name in others if name.endswith("/pyvenv.cfg"))
    for name in others:
        if not name.startswith(marked):  # files of a virtual environment
            files = _within(folder, name, excluded) or {name}
            names |= {each for each in files if _is_code(folder, each, CODE)}
    return names


def _within(folder: Path, name: str, excluded: set[Path]) -> set[str]:
    """Return the files of a repository, or submodule, that lies within another one."""
    inner = folder / name
    if inner.is_symlink() or not inner.is_dir() or real(inner) in excluded:
        return set()
    return {f"{name.rstrip('/')}/{each}" for each in code_files(inner, excluded)}


def _split(names: bytes) -> list[str]:
    return [os.fsdecode(name) for name in names.split(b"\0") if name]


def _is_code(folder: Path, name: str, suffixes: frozenset[str]) -> bool:
    path = folder / name
    return path.suffix.lower() in suffixes or (path.is_symlink() and path.is_dir())


def _walk(folder: Path, excluded: set[Path]) -> set[str]:
    """Return the files that look like code in a folder without git, or all files of a snapshot."""
    everything = provenance.is_snapshot(folder)
    code: set[str] = set()
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = [
            name
            for name in folders
            if name != "__pycache__"
            and real(here / name) not in excluded
            and (everything or not _is_no_source(here / name, folder))
        ]
        names = (str((here / name).relative_to(folder)) for name in (*folders, *files))
        code |= {name for name in names if everything or _is_code(folder, name, WITHOUT_GIT)}
    return code


def _is_no_source(folder: Path, top: Path) -> bool:
    """Tell whether a folder holds other people's code, or build results."""
    return (
        folder.name.startswith(".")
        or folder.name.endswith((".egg-info", "node_modules"))
        or folder in (top / "build", top / "dist")
        or any((folder / marker).exists() for marker in ("pyvenv.cfg", "conda-meta"))
    )
