"""The entries of a snapshot, files and links, and the hash that identifies them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

from crate.run import provenance


class Copy(NamedTuple):
    """An entry of a snapshot: a file's mode and content, or a link's mode and target."""

    mode: int
    content: bytes

    @property
    def kind(self) -> str:
        """`link`, `program` (a file that can be executed) or `file`."""
        if stat.S_ISLNK(self.mode):
            return "link"
        return "program" if self.mode & stat.S_IXUSR else "file"

    @classmethod
    def link(cls, target: str) -> Copy:
        """Return the entry of a link to `target`."""
        return cls(stat.S_IFLNK, os.fsencode(target))

    @classmethod
    def of(cls, file: Path) -> Copy:
        """Return the entry of a file or link as it is; a link is not followed."""
        if file.is_symlink():
            return cls.link(os.readlink(file))
        return cls(file.stat().st_mode, file.read_bytes())


def hash_of(copies: Mapping[str, Copy], origin: Mapping[str, str | None]) -> str:
    """Return the identity of a state of the code: names, kinds, contents and origin."""
    content = hashlib.sha256(json.dumps(origin, sort_keys=True).encode())
    for name in sorted(copies):
        copy = copies[name]
        content.update(b"\0" + os.fsencode(name))
        content.update(f"\0{copy.kind} {len(copy.content)}\0".encode() + copy.content)
    return content.hexdigest()[:12]


def digests(copies: Mapping[str, Copy]) -> dict[str, str]:
    """Return the hash of each entry, by which a damaged one is named."""
    return {name: hash_of({name: copy}, {}) for name, copy in copies.items()}


def stored_copies(snapshot: Path, copied: Container[str]) -> dict[str, Copy]:
    """Return the entries of a snapshot by name; links are not followed, since they may be broken.

    Files that Python compiled there later are left out, unless they were `copied`.
    """
    copies = {}
    for parent, folders, files in os.walk(snapshot):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for path in (Path(parent, name) for name in (*links, *files)):
            name = str(path.relative_to(snapshot))
            is_compiled = "__pycache__" in path.parts[len(snapshot.parts) :]
            if name != provenance.SNAPSHOT_FILE and (not is_compiled or name in copied):
                copies[name] = Copy.of(path)
    return copies
