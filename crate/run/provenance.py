"""Provenance of a result: code, versions and machine. Imports no torch."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from crate.paths import CHECKOUT
from crate.run import records
from crate.run.records import Record, Unreadable
from crate.run.secrets import redact

PACKAGES = ("torch", "torchvision", "timm", "lion-pytorch", "numpy", "scikit-learn", "hydra-core")
SNAPSHOT_FILE = ".snapshot.json"  # marks a copy of the code; see crate/sweep/code/snapshot.py
# Files that hold keys, as patterns of lower-case names. No copy or diff may contain them.
SECRET_FILES = (
    *(".env*", "*.pem", "*.key", "*.p12", "*.pfx", "*.secret", "*credentials*"),
    *("id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", "_netrc"),
)
# Set by git hooks. With them, git reports on the hook's repository instead of the given folder.
HOOK_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(kw_only=True)
class Snapshot(Record):
    """The record in `.snapshot.json`: which checkout a copy of the code was taken from.

    `contents` holds the hash of each file; snapshots of the first version lack it.
    """

    version: int = 1
    revision: str | None = None
    dirty_diff: str | None = None
    files: int | None = None
    mb: float | None = None
    taken_from: str | None = None
    contents: dict[str, str] | None = None

    @property
    def origin(self) -> dict[str, str | None]:
        """The `revision` and the `dirty_diff` of the checkout."""
        return {"revision": self.revision, "dirty_diff": self.dirty_diff}


def read_snapshot(folder: Path) -> Snapshot | None:
    """Return the record of a snapshot; None if it is missing. Raise Unreadable if it is damaged."""
    return records.read(Snapshot, folder / SNAPSHOT_FILE)


def describe() -> dict[str, Any]:
    """Return revision, uncommitted changes, versions and machine, without secrets."""
    return {
        **redact(revision()),
        "command": redact(sys.argv),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
    }


def revision(checkout: Path = CHECKOUT) -> dict[str, str | None]:
    """Return `revision` and `dirty_diff` of a checkout; both None without a git repository.

    For a snapshot, return those of the checkout that it was copied from.
    """
    if is_snapshot(checkout):
        with suppress(Unreadable):
            if (snapshot := read_snapshot(checkout)) is not None:
                return snapshot.origin
    # HEAD:./ fails if a repository around the checkout does not track it.
    answer = git(checkout, "rev-parse", "HEAD", "HEAD:./")
    if answer is None:
        return {"revision": None, "dirty_diff": None}
    patterns = [each for name in SECRET_FILES for each in (f"**/{name}", f"**/{name}/**")]
    hidden = [f":(exclude,glob,icase){pattern}" for pattern in patterns]
    diff = git(checkout, "diff", "--no-ext-diff", "--no-color", "HEAD", "--", ".", *hidden)
    return {
        "revision": answer.decode().split()[0],
        "dirty_diff": None if diff is None else diff.decode(errors="replace"),
    }


def is_snapshot(checkout: Path) -> bool:
    """Return whether a checkout is a snapshot: a sweep's copy of the code."""
    return (checkout / SNAPSHOT_FILE).is_file() and not (checkout / ".git").exists()


def git(folder: Path, *arguments: str) -> bytes | None:
    """Return the output of a git command in a folder; None without git or a repository."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    environment = {name: os.environ[name] for name in os.environ if name not in HOOK_VARIABLES}
    try:
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cores() -> int:
    """Return the number of cores for this process: the launcher's share, or all available ones."""
    if "CRATE_CORES" in os.environ:
        return int(os.environ["CRATE_CORES"])
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def cpu_name() -> str:
    """Return the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
