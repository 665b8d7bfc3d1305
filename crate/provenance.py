"""Where a result comes from: code, versions and machine. Imports no torch."""

from __future__ import annotations

import hashlib
import netrc
import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from crate.config.check import CHECKOUT

PACKAGES = ("torch", "torchvision", "timm", "lion-pytorch", "numpy", "scikit-learn", "hydra-core")


def fingerprint() -> str:
    """Returns the hash of the package's code: every Python file of crate/, and launch.py."""
    content = hashlib.sha256()
    for file in [*sorted((CHECKOUT / "crate").rglob("*.py")), CHECKOUT / "launch.py"]:
        content.update(file.relative_to(CHECKOUT).as_posix().encode() + b"\0" + file.read_bytes())
    return content.hexdigest()[:12]


def describe() -> dict[str, Any]:
    """Returns revision, uncommitted changes, fingerprint, versions and machine."""
    return {
        "revision": _git("rev-parse", "HEAD"),
        "dirty_diff": _git("diff", "HEAD"),
        "fingerprint": fingerprint(),
        "command": sys.argv,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
    }


def redact(value: Any) -> Any:
    """Returns a text, or nested lists and dicts of texts, with `<NAME>` for each secret in it."""
    if isinstance(value, str):
        for name, secret in _secrets():
            value = value.replace(secret, f"<{name}>")
        return value
    if isinstance(value, dict):
        return {key: redact(entry) for key, entry in value.items()}
    return [redact(entry) for entry in value] if isinstance(value, list) else value


@cache
def _secrets() -> list[tuple[str, str]]:
    """Returns the secrets of the environment and of ~/.netrc by name; paths are none."""
    found = [
        (name, value)
        for name, value in os.environ.items()
        if any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD"))
    ]
    with suppress(OSError, netrc.NetrcParseError):
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
        found += [(f"netrc {host}", password) for host, (_, _, password) in hosts.items()]
    return [(name, value) for name, value in found if len(value) >= 8 and not Path(value).exists()]


def _git(*arguments: str) -> str | None:
    """Returns what git says of the checkout; None where there is no git or no repository."""
    try:
        command = ["git", "-C", str(CHECKOUT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
