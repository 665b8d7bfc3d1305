"""Reads YAML files for Hydra: checks what it would misread, and makes relative paths absolute.

Hydra takes a file from the first folder of its search path that has it. Therefore each folder is
put before Hydra's own entry for it, under a scheme that is read by a class below.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

from crate.config.commandline.config_dir import config_dirs
from crate.config.commandline.typed_paths import make_file_absolute
from crate.config.commandline.yaml_truths import require_truths
from crate.paths import CONF


class CheckedFolders(SearchPathPlugin):
    """Puts `conf` and the folder given as `--config-dir` before Hydra's entries for them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        paths = [str(element.path).removeprefix("file://") for element in search_path.get_path()]
        if str(CONF) in paths:
            search_path.prepend("conf", f"conf://{CONF}", anchor="main")
        for folder in config_dirs(sys.argv[1:]):
            search_path.append("config-dir", f"config-dir://{folder}")


class ConfSource(FileConfigSource):
    """A folder of YAML files that are checked as they are read."""

    @staticmethod
    def scheme() -> str:
        return "conf"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a file's content and header."""
        result = super().load_config(config_path)
        if isinstance(result.config, DictConfig):
            file = Path(self.path) / self._normalize_file_name(config_path)
            self.read(result.config, package_of(config_path, result), file)
        return result

    def read(self, config: DictConfig, package: str, file: Path) -> None:
        """Check the content of a file; `package` is the dotted name that its keys are below."""
        require_truths(config, package, file)


class ConfigDirSource(ConfSource):
    """A user's folder, in whose files a relative path is relative to the folder."""

    @staticmethod
    def scheme() -> str:
        return "config-dir"

    def read(self, config: DictConfig, package: str, file: Path) -> None:
        super().read(config, package, file)
        make_file_absolute(config, package, Path(self.path))


def package_of(config_path: str, result: ConfigResult) -> str:
    """Return the dotted name that the keys of a file are below: its folder's, or its header's."""
    group = Path(config_path).parent.as_posix().replace("/", ".").strip(".")
    package = result.header["package"] or "_group_"
    return "" if package == "_global_" else package.replace("_group_", group)
