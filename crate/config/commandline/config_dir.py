"""The folder given as `--config-dir`, and the options of groups in such folders."""

from __future__ import annotations

from pathlib import Path


def config_dirs(arguments: list[str]) -> list[Path]:
    """Return the folder given as `--config-dir FOLDER`, `--config-dir=FOLDER` or `-cd FOLDER`."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            return [Path(value or following).absolute()]
    return []


def options_by_group(folders: list[Path]) -> dict[str, list[str]]:
    """Return the options of each group: the YAML files below `folders`, and the sweeps."""
    from hydra.core.config_store import ConfigStore

    groups: dict[str, list[str]] = {}
    for folder in folders:
        for file in sorted(folder.glob("*/**/*.yaml")):
            group = file.parent.relative_to(folder).as_posix()
            groups.setdefault(group, []).append(file.stem)
    for group in ("sweep", "task"):  # registered: sweeps/*.yaml, and a user's own task
        names = ConfigStore.instance().repo.get(group, {})
        groups[group] = list(
            dict.fromkeys([*groups.get(group, []), *(Path(n).stem for n in names)])
        )
    return groups
