"""Reads the YAML files of `--config-dir FOLDER`, in which relative paths are relative to FOLDER."""

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


class ConfigDir(SearchPathPlugin):
    """Puts the folder before Hydra's own entry for it, so that it is read by the class below."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in config_dirs(sys.argv[1:]):
            search_path.append("config-dir", f"config-dir://{folder}")


class ConfigDirSource(FileConfigSource):
    """A folder of YAML files whose relative paths are made absolute as they are read."""

    @staticmethod
    def scheme() -> str:
        return "config-dir"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a file's content and header; the package of its keys follows from both."""
        result = super().load_config(config_path)
        group = Path(config_path).parent.as_posix().replace("/", ".").strip(".")
        package = result.header["package"] or "_group_"
        package = "" if package == "_global_" else package.replace("_group_", group)
        if isinstance(result.config, DictConfig):
            make_file_absolute(result.config, package, Path(self.path))
        return result
