"""A copy of the checkout's code, so that what waits in a queue runs what was there when it came.

    outputs/code/<hash>/      one for each state of the code, however many sweeps use it
        .snapshot.json        revision, uncommitted changes, what the files are
        launch.py, crate/...  as the checkout has them, read-only

With git, that is every file that git tracks, as edited, and code that it neither tracks nor
ignores; without git, what looks like code. Never: keys and passwords, outputs, data. A link to a
file becomes the file; a link to a folder stays one, within the copy where it was within the
checkout. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Container, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from crate.errors import UserError, shorten
from crate.paths import CHECKOUT
from crate.run import provenance
from crate.run.secrets import redact
from crate.sweep.code.code_files import code_files, real

ORIGIN = ("revision", "dirty_diff")
MAX_MB = 50  # 1e6 bytes
LEFTOVER_S = 24 * 3600  # nobody takes that long to copy


class Copy(NamedTuple):
    """What the snapshot holds under a name: a file's mode and content, or a link's target."""

    mode: int
    content: bytes

    @property
    def kind(self) -> str:
        if stat.S_ISLNK(self.mode):
            return "link"
        return "program" if self.mode & stat.S_IXUSR else "file"


def take(outputs: Path, excluded: Sequence[Path] = (), checkout: Path = CHECKOUT) -> Path:
    """Copies the checkout's code to outputs/code/<hash>/ and returns that folder.

    A state of the code that is there already is not copied again. Nothing below `excluded` is
    taken. Raises UserError where the code is too large, or cannot be read or written.
    """
    checkout = real(checkout)
    store = place(checkout / outputs, "")
    try:
        copies = _read(checkout, _excluded_folders(checkout, outputs, excluded))
    except OSError as error:
        given = f"cannot read {error.filename}: {error.strerror}"
        raise UserError(given, "code that can be copied, or that git ignores") from error
    origin = redact(provenance.revision(checkout))
    snapshot = store / _hash(copies, origin)
    try:
        _remove_leftovers(store)
        if not snapshot.exists():
            size_mb = sum(len(copy.content) for copy in copies.values()) / 1e6
            facts = {"files": len(copies), "mb": round(size_mb, 3), "taken_from": str(checkout)}
            facts["contents"] = _digests(copies)
            _store(snapshot, copies, origin | facts)
    except OSError as error:
        given = f"cannot write to {store}: {error.strerror}"
        raise UserError(given, "a writable folder", "outputs=FOLDER") from error
    require_intact(snapshot)
    return snapshot


def place(outputs: Path, name: str) -> Path:
    """Returns where the snapshot of a hash lies, or lay."""
    return outputs / "code" / name


def _excluded_folders(checkout: Path, outputs: Path, excluded: Sequence[Path]) -> set[Path]:
    """Returns the folders to leave out; one around the checkout leaves out only its results."""
    folders = (outputs, outputs / "code", outputs / "runs", *excluded)
    found = {real(checkout / folder) for folder in folders}
    return {folder for folder in found if not checkout.is_relative_to(folder)}


def _read(checkout: Path, excluded: set[Path]) -> dict[str, Copy]:
    """Returns what the snapshot will hold, by name; raises UserError where that is too much."""
    sizes: dict[str, int] = {}
    copies: dict[str, Copy] = {}
    for name in code_files(checkout, excluded):
        place, target = checkout / name, real(checkout / name)
        beyond_link = real(place.parent) != place.parent  # git's index is older than the link
        if beyond_link or _is_left_out(place, target, checkout, excluded):
            continue
        if target.is_file():
            sizes[name] = target.stat().st_size
        elif target.is_dir() and place.is_symlink():
            inside = target.is_relative_to(checkout)
            link = os.path.relpath(target, place.parent) if inside else str(target)
            copies[name] = Copy(stat.S_IFLNK, os.fsencode(link))
    _require_small(checkout, sizes)
    for name in sizes:
        copies[name] = Copy((checkout / name).stat().st_mode, (checkout / name).read_bytes())
    return copies


def _is_left_out(place: Path, target: Path, checkout: Path, excluded: set[Path]) -> bool:
    """Tells what must not be copied: what lies, or links, where results, data or secrets are."""
    inside = target.is_relative_to(checkout)
    names = target.relative_to(checkout).parts if inside else (target.name,)
    names += place.relative_to(checkout).parts
    return (
        place == checkout / provenance.SNAPSHOT_FILE
        or any(fnmatchcase(name.lower(), key) for name in names for key in provenance.SECRET_FILES)
        or any(path.is_relative_to(folder) for folder in excluded for path in (place, target))
    )


def _require_small(checkout: Path, sizes: dict[str, int]) -> None:
    """Raises UserError, with the largest files, where there is more than code."""
    total_mb = sum(sizes.values()) / 1e6
    if total_mb <= MAX_MB:
        return
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    rows = "".join(f"\n    {sizes[name] / 1e6:8.1f} MB  {name!r}" for name in largest)
    raise UserError(
        f"the code in {checkout} takes {total_mb:.1f} MB; most of it:{rows}",
        f"up to {MAX_MB} MB; data and weights lie elsewhere",
        "git rm --cached FILE and a line in .gitignore, or move it out and set data.root=FOLDER",
    )


def _hash(copies: dict[str, Copy], origin: dict[str, str | None]) -> str:
    """Returns the identity of a state of the code: names, kinds, contents and origin."""
    content = hashlib.sha256(json.dumps(origin, sort_keys=True).encode())
    for name in sorted(copies):
        copy = copies[name]
        content.update(b"\0" + os.fsencode(name))
        content.update(f"\0{copy.kind} {len(copy.content)}\0".encode() + copy.content)
    return content.hexdigest()[:12]


def _store(snapshot: Path, copies: dict[str, Copy], facts: dict) -> None:
    """Writes a snapshot under another name and renames it, unless a rival was first."""
    unique = f".{snapshot.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"  # pids recur on hosts
    temporary = snapshot.with_name(unique)
    about = Copy(0o644, (json.dumps(facts, indent=2) + "\n").encode())
    try:
        for name, copy in (copies | {provenance.SNAPSHOT_FILE: about}).items():
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, copy)
        os.rename(temporary, snapshot)
    except OSError:
        if not snapshot.exists():  # else a rival was first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(place: Path, copy: Copy) -> None:
    if copy.kind == "link":
        os.symlink(copy.content, os.fsencode(place))
        return
    with open(place, "xb") as file:
        file.write(copy.content)
        file.flush()
        os.fsync(file.fileno())
    place.chmod(copy.mode & 0o555)


def _remove_leftovers(store: Path) -> None:
    """Removes what killed processes were copying long ago."""
    for folder in store.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < time.time() - LEFTOVER_S:
                shutil.rmtree(folder, ignore_errors=True)


def require_intact(snapshot: Path) -> None:
    """Raise UserError unless a snapshot holds exactly the files that were copied into it.

    Its name is the hash of their names and contents. People edit files, clusters purge old ones.
    """
    try:
        facts = json.loads((snapshot / provenance.SNAPSHOT_FILE).read_text())
        origin = {key: facts[key] for key in ORIGIN}
        copies = _stored(real(snapshot), facts.get("contents") or {})
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(snapshot, [f"{provenance.SNAPSHOT_FILE} is gone or damaged"]) from None
    if _hash(copies, origin) != snapshot.name:
        found, copied = _digests(copies), facts.get("contents")
        if copied is None:  # a snapshot of an earlier version
            raise _damaged(snapshot, ["its files are not those that its name stands for"])
        gone = [f"{name} is gone" for name in copied if name not in found]
        altered = [f"{name} was altered" for name in found if copied.get(name, 0) != found[name]]
        raise _damaged(snapshot, gone + altered)


def _stored(snapshot: Path, copied: Container[str]) -> dict[str, Copy]:
    """Return what a snapshot holds, by name; links are not followed, so that they may lead nowhere.

    What Python compiled there since is left out, unless it was `copied`.
    """
    copies = {}
    for parent, folders, files in os.walk(snapshot):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in (*links, *files)):
            name = str(path.relative_to(snapshot))
            is_compiled = "__pycache__" in path.parts[len(snapshot.parts) :]
            if name == provenance.SNAPSHOT_FILE or (is_compiled and name not in copied):
                continue
            if path.is_symlink():
                copies[name] = Copy(stat.S_IFLNK, os.fsencode(os.readlink(path)))
            else:
                copies[name] = Copy(path.stat().st_mode, path.read_bytes())
    return copies


def _digests(copies: dict[str, Copy]) -> dict[str, str]:
    """Return the hash of each entry, by which a damaged one is named."""
    return {name: _hash({name: copy}, {}) for name, copy in copies.items()}


def _damaged(snapshot: Path, reasons: list[str]) -> UserError:
    return UserError(
        f"the snapshot {snapshot} is damaged: {shorten(reasons, 5)}",
        "the code as it was copied",
        f"rm -rf {quote(str(snapshot))}, then launch again, or retry with --new-code",
    )
