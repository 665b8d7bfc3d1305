"""A copy of the checkout's code, so that a job that waits runs the code of its launch.

    outputs/code/<hash>/      one for each state of the code, however many sweeps use it
        .snapshot.json        revision, uncommitted changes, what the files are
        launch.py, crate/...  as the checkout has them, read-only

With git, that is every file that git tracks, as edited, and code that git neither tracks nor
ignores; without git, every file that looks like code. Keys, passwords, outputs and data are never
copied. A link to a file becomes the file. A link to a folder stays a link, within the copy if it
was within the checkout. Imports no torch.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from crate.errors import UserError, shorten
from crate.paths import CHECKOUT
from crate.run import provenance
from crate.run.records import Unreadable
from crate.run.secrets import redact
from crate.sweep.code.checkout import read_checkout
from crate.sweep.code.code_files import real
from crate.sweep.code.copies import Copy, digests, hash_of, stored_copies

LEFTOVER_S = 24 * 3600  # nobody takes that long to copy


def take(outputs: Path, excluded: Sequence[Path] = (), checkout: Path = CHECKOUT) -> Path:
    """Copy the checkout's code to outputs/code/<hash>/ and return that folder.

    A state of the code that is there already is not copied again. Nothing below `excluded` is
    copied. Raise UserError if the code is too large, or cannot be read or written.
    """
    checkout = real(checkout)
    store = snapshot_folder(checkout / outputs, "")
    try:
        copies = read_checkout(checkout, outputs, excluded)
    except OSError as error:
        given = f"cannot read {error.filename}: {error.strerror}"
        raise UserError(given, "code that can be copied, or that git ignores") from error
    origin = redact(provenance.revision(checkout))
    snapshot = store / hash_of(copies, origin)
    try:
        _remove_leftovers(store)
        if not snapshot.exists():
            size_mb = sum(len(copy.content) for copy in copies.values()) / 1e6
            record = provenance.Snapshot(
                files=len(copies),
                mb=round(size_mb, 3),
                taken_from=str(checkout),
                contents=digests(copies),
            )
            _store(snapshot, copies, origin | record.to_json())
    except OSError as error:
        given = f"cannot write to {store}: {error.strerror}"
        raise UserError(given, "a writable folder", "outputs=FOLDER") from error
    require_intact(snapshot)
    return snapshot


def snapshot_folder(outputs: Path, name: str) -> Path:
    """Return the folder of the snapshot `name`, whether or not it exists."""
    return outputs / "code" / name


def require_intact(snapshot: Path) -> None:
    """Raise UserError unless a snapshot holds exactly the files that were copied into it.

    Its name is the hash of their names and contents. People edit files, clusters purge old ones.
    """
    try:
        record = provenance.read_snapshot(snapshot)
        if record is None:
            raise Unreadable(f"{snapshot} has no {provenance.SNAPSHOT_FILE}")
        copies = stored_copies(real(snapshot), record.contents or {})
    except (OSError, Unreadable):
        raise _damaged(snapshot, [f"{provenance.SNAPSHOT_FILE} is gone or damaged"]) from None
    if hash_of(copies, record.origin) != snapshot.name:
        present, copied = digests(copies), record.contents
        if copied is None:  # a snapshot of an earlier version
            raise _damaged(snapshot, ["its files are not those that its name stands for"])
        gone = [f"{name} is gone" for name in copied if name not in present]
        altered = [
            f"{name} was altered" for name in present if copied.get(name, 0) != present[name]
        ]
        raise _damaged(snapshot, gone + altered)


def _store(snapshot: Path, copies: Mapping[str, Copy], facts: dict[str, Any]) -> None:
    """Write a snapshot under another name and rename it, unless another process was first."""
    unique = f".{snapshot.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"  # pids recur on hosts
    temporary = snapshot.with_name(unique)
    about = Copy(0o644, (json.dumps(facts, indent=2) + "\n").encode())
    try:
        for name, copy in ({**copies, provenance.SNAPSHOT_FILE: about}).items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, copy)
        os.rename(temporary, snapshot)
    except OSError:
        if not snapshot.exists():  # otherwise another process was first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, copy: Copy) -> None:
    """Write an entry and have it on disk; files become read-only."""
    if copy.kind == "link":
        os.symlink(copy.content, os.fsencode(path))
        return
    with open(path, "xb") as file:
        file.write(copy.content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(copy.mode & 0o555)


def _remove_leftovers(store: Path) -> None:
    """Remove incomplete copies that killed processes left long ago."""
    for folder in store.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < time.time() - LEFTOVER_S:
                shutil.rmtree(folder, ignore_errors=True)


def _damaged(snapshot: Path, reasons: list[str]) -> UserError:
    return UserError(
        f"the snapshot {snapshot} is damaged: {shorten(reasons, 5)}",
        "the code as it was copied",
        f"rm -rf {quote(str(snapshot))}, then launch again, or retry with --new-code",
    )
