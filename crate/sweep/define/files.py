"""Sweep files: `sweeps/NAME.yaml` in the checkout and in the folder of `--config-dir`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from crate.config.commandline.typed_paths import make_sweep_absolute
from crate.config.schema import Sweep
from crate.errors import UserError, nearest, shorten
from crate.paths import CHECKOUT


def sweep_files(config_dirs: list[Path]) -> dict[str, Path]:
    """Return the sweep files by name; a file of a user's own folder replaces ours of that name."""
    files: dict[str, Path] = {}
    for folder in (CHECKOUT, *config_dirs):
        files |= {file.stem: file for file in sorted((folder / "sweeps").glob("*.yaml"))}
    return files


def register(config_dirs: list[Path]) -> None:
    """Register every sweep file as an option of the group `sweep`, which runs all of its points."""
    for name, file in sweep_files(config_dirs).items():
        sweep = read(file)
        if (folder := file.parent.parent) in config_dirs:
            make_sweep_absolute(sweep, folder)
        node = {"hydra": {"mode": "MULTIRUN"}, "sweep": sweep}
        store = ConfigStore.instance()
        store.store(group="sweep", name=name, node=OmegaConf.create(node), package="_global_")


def read(file: Path) -> DictConfig:
    """Return the sweep of a file; raise UserError if it is not a sweep, or has an unknown key."""
    names = [entry.name for entry in fields(Sweep) if entry.name != "name"]
    try:
        sweep = OmegaConf.load(file)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise UserError(f"{file} is not YAML: {where}", ", ".join(names)) from error
    if not isinstance(sweep, DictConfig):
        raise UserError(f"{file} is not a sweep", ", ".join(names), "grid: {KEY: VALUES}")
    for key in map(str, sweep):
        if key not in names:
            ranked = nearest(key, names)
            raise UserError(f"{file}: there is no key {key}", shorten(ranked), f"{ranked[0]}: ...")
    sweep["name"] = file.stem
    return sweep
