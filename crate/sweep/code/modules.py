"""The modules of a user's own targets: found again in a job, and watched where outside."""

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
    """`paths` are folders to import from, relative ones from the checkout or its snapshot.

    `outside` holds the files that own targets import from outside of the checkout, each with the
    digest of its syntax tree at the launch.
    """

    paths: list[str]
    outside: dict[str, str]

    @classmethod
    def of(cls, configs: list[Config]) -> Modules:
        """Return those of the command line's `--config-dir` and of the targets of `configs`.

        The targets have been imported, as the check of their arguments does.
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
                "outside of the checkout, so that an edit before a job starts counts: %s",
                shorten(outside, 6),
            )
        return cls(paths, outside)

    def find(self) -> None:
        """Let Python find them in this process, and warn of files that changed since the launch."""
        for path in self.paths:
            sys.path.append(str(CHECKOUT / path))
        if changed := code_record.changed_files(self.outside):
            logger.warning("changed since the launch: %s", shorten(changed, 6))
