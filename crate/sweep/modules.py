"""The modules of a user's own targets: found again in a job, and watched where they lie outside."""

from __future__ import annotations

import hashlib
import logging
import sys
import sysconfig
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from crate.config.check import CHECKOUT
from crate.config.commandline import config_dirs
from crate.config.schema import Config, Target
from crate.config.target import locate

logger = logging.getLogger("crate")


@dataclass
class Modules:
    """`paths` are folders to import from, relative ones from the checkout or its snapshot.

    `outside` holds the files of targets that no snapshot has, each with its hash at the launch.
    """

    paths: list[str]
    outside: dict[str, str]

    @classmethod
    def of(cls, configs: list[Config]) -> Modules:
        """Returns those of the command line's `--config-dir`, and of the targets of `configs`."""
        folders = [folder.resolve() for folder in config_dirs(sys.argv[1:])]
        paths = [
            str(folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder)
            for folder in folders
        ]
        targets = {
            node._target_
            for config in configs
            for entry in fields(config)
            if isinstance(node := getattr(config, entry.name), Target) and node.is_own
        }
        files = {file for target in targets if (file := _file_outside(target)) is not None}
        return cls(paths, {str(file): _hash(file) for file in sorted(files)})

    def find(self) -> None:
        """Lets Python find them in this process, and says which are not those of the launch."""
        for path in self.paths:
            sys.path.append(str(CHECKOUT / path))
        for file, known in self.outside.items():
            if not Path(file).is_file() or _hash(Path(file)) != known:
                logger.warning("%s is not what it was at the launch", file)


def _file_outside(target: str) -> Path | None:
    """Returns the file of a target that is neither in the checkout nor an installed package's."""
    found: Any = sys.modules.get(getattr(locate(target), "__module__", None) or "")
    if getattr(found, "__file__", None) is None:
        return None
    file = Path(found.__file__).resolve()
    installed = [
        Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")
    ]
    is_known = any(file.is_relative_to(folder) for folder in (CHECKOUT, *installed))
    return None if is_known else file


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
