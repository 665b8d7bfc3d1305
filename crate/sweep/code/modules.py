"""The modules of a user's own targets: where a job finds them, and whether they have changed."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from crate.config.commandline.config_dir import config_dirs
from crate.config.dotted_names import dotted_names
from crate.config.schema import Config
from crate.errors import shorten
from crate.paths import CHECKOUT
from crate.run import code_record

logger = logging.getLogger("crate")


@dataclass
class Modules:
    """Where the modules of own targets are.

    `paths` are folders to import from; relative ones are relative to the checkout or its snapshot.
    `outside` maps each imported file outside of the checkout to the digest of its syntax tree at
    the launch.
    """

    paths: list[str]
    outside: dict[str, str]

    @classmethod
    def of(cls, configs: list[Config]) -> Modules:
        """Return the modules of `--config-dir` and of the own targets of `configs`.

        The targets must have been imported, as the check of their arguments does.
        """
        folders = [folder.resolve() for folder in config_dirs(sys.argv[1:])]
        paths = [
            str(folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder)
            for folder in folders
        ]
        names = set().union(*(dotted_names(config, own=True) for config in configs))
        files = code_record.record(names)
        outside = {name: files[name] for name in files if Path(name).is_absolute()}
        if outside:
            logger.warning(
                "outside of the checkout, so that jobs run them as they are when a job starts: %s",
                shorten(outside, 6),
            )
        return cls(paths, outside)

    def find(self) -> None:
        """Let this process import the modules, and warn of files that changed since the launch."""
        for path in self.paths:
            sys.path.append(str(CHECKOUT / path))
        if changed := code_record.changed_files(self.outside):
            logger.warning("changed since the launch: %s", shorten(changed, 6))
