"""The dependencies of the installed package: the versions of requirements.txt, as ranges.

requirements.txt pins what the tests run with. An installation takes any version from the pinned
minor version on, below the next major version; a comment such as `torch>=2.11` in that file admits
older versions. What follows its line "# tests and benches" is not installed.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

PIN = re.compile(r"^([\w-]+)==(\d+)\.(\d+)\S*$", re.MULTILINE)
OLDEST = re.compile(r"([\w-]+)>=(\S+)")


def ranges(requirements: str) -> list[str]:
    """Return the dependencies, such as torch>=2.11,<3."""
    installed, _, _ = requirements.partition("# tests and benches")
    comments = "\n".join(line for line in installed.splitlines() if line.startswith("#"))
    oldest = dict(OLDEST.findall(comments))
    return [
        f"{name}>={oldest.get(name, f'{major}.{minor}')},<{int(major) + 1}"
        for name, major, minor in PIN.findall(installed)
    ]


if __name__ == "__main__":
    setup(install_requires=ranges(Path(__file__).with_name("requirements.txt").read_text()))
