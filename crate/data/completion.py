"""Completes a configuration from its data: the folder, the number of classes, what a set suggests.

Imports no torch, so that a launch can check data at once.
"""

from __future__ import annotations

import math
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config import suggestions
from crate.config.schema import Downloaded, Folder
from crate.data import facts
from crate.data.cache.setting import complete_cache
from crate.data.images import layout
from crate.data.published import PUBLISHED, Published, default_root
from crate.errors import UserError, close, nearest, shorten
from crate.paths import absolute


def complete(cfg: DictConfig) -> list[UserError]:
    """Fill `cfg.data.root` and `num_classes` from the set or its files, and fit its suggestions.

    Return what is missing or wrong. A set that torchvision may download is missing only with
    `data.download=false`: it is downloaded when the run starts. An interpolation that leads nowhere
    is left to the checks of values.
    """
    try:
        OmegaConf.to_container(cfg.data, resolve=True)
    except OmegaConfBaseException:
        if cfg.data._get_node("num_classes")._value() is None:
            _let_other_checks_go_on(cfg)
        return []
    complete_cache(cfg.data)
    if "root" in cfg.data and cfg.data.root == "":  # `data.root=$VARIABLE` of an unset variable
        _let_other_checks_go_on(cfg)
        return []
    errors = _complete_root(cfg)
    suggestions.fit(cfg, lambda most: None if errors else _num_training_images(cfg.data, most))
    return errors + _cache_errors(cfg.data)


def _let_other_checks_go_on(cfg: DictConfig) -> None:
    """Fill in a number of classes, without which no other value can be checked."""
    cfg.data.num_classes = cfg.data.num_classes or 1


def _complete_root(cfg: DictConfig) -> list[UserError]:
    kind = OmegaConf.get_type(cfg.data)
    if kind is Folder:
        return _complete_folder(cfg)
    row = _published(cfg.data)
    if kind is Downloaded and row is None:
        is_given = not OmegaConf.is_missing(cfg.data, "published")
        return [_unknown_set(cfg.data.published)] if is_given else []
    if row is None or row.torchvision is None:
        return []
    cfg.data.root = str(absolute(cfg.data.root or default_root(row.name)))
    try:
        if not cfg.data.download:
            row.require(Path(cfg.data.root))
    except UserError as error:
        return [error]
    return []


def _published(data: DictConfig) -> Published | None:
    """Return the published set that a node of the tree configures, if any."""
    kind = OmegaConf.get_type(data)
    if kind in (Downloaded, Folder):
        return PUBLISHED.get(OmegaConf.select(data, "published", throw_on_missing=False) or "")
    return next((row for row in PUBLISHED.values() if row.schema is kind), None)


def _unknown_set(name: str) -> UserError:
    names = [row.name for row in PUBLISHED.values() if row.torchvision]
    likely = close(name, names)
    return UserError(
        f"data.published={name} is no set that torchvision reads here",
        shorten(nearest(name, names)),
        f"data.published={likely[0]}" if likely else "data.published=NAME",
    )


def _complete_folder(cfg: DictConfig) -> list[UserError]:
    name = cfg.data.published
    if OmegaConf.is_missing(cfg.data, "root") or (cfg.data.root is None and name is None):
        cfg.data.root = "???"
        _let_other_checks_go_on(cfg)
        return []
    root = absolute(cfg.data.root or default_root(name))
    cfg.data.root = str(root)
    row = PUBLISHED.get(name or "")
    how_to_get = row.how_to_get.format(root=root) if row and row.how_to_get else None
    try:
        classes = layout.class_names(root, how_to_get)
        layout.labels(root)
    except UserError as error:
        _let_other_checks_go_on(cfg)
        return [error]
    if cfg.data.num_classes is None:
        cfg.data.num_classes = len(classes)
    if cfg.data.num_classes == len(classes):
        return []
    folders = ", ".join(map(str, layout.split_folders(root, "train")))
    return [
        UserError(
            f"{folders} holds {len(classes)} class folders, and {name or 'the configuration'} "
            f"has {cfg.data.num_classes}",
            "all of them, or the set as it is under data=imagefolder",
            f"data=imagefolder data.root={root}",
        )
    ]


def _cache_errors(data: DictConfig) -> list[UserError]:
    """Return the error of a cache for a set that is held in memory, if any."""
    row = _published(data)
    if row is None or not row.is_in_memory or data.cache_px is None:
        return []
    names = [row.name for row in PUBLISHED.values() if not row.is_in_memory]
    return [
        UserError(
            f"data.cache={data.cache} data.cache_px={data.cache_px}, and this data set names no "
            "files to decode ahead",
            f"sets of image files: {', '.join(['imagefolder', *names])}",
            "data.cache=off data.cache_px=null",
        )
    ]


def _num_training_images(data: DictConfig, most: int) -> int | None:
    """Return how many images of a user's own folder a run trains on, counted up to `most`.

    None for published sets, whose batch is chosen for them, and for a user's own class.
    """
    if OmegaConf.get_type(data) is not Folder or data._target_ != Folder._target_ or data.published:
        return None
    enough = math.ceil(most / (1 - data.val_fraction)) + 1
    whole = facts.count_images(Path(data.root), "train", enough)
    return whole - round(data.val_fraction * whole)
