"""The error for a key that the tree does not have, with a suggestion."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig

from crate.config.own import type_of
from crate.config.reference.groups import options, schema_of
from crate.config.reference.keys import declared
from crate.config.schema import SCHEMAS
from crate.errors import UserError, close, nearest, shorten
from crate.paths import CONF

PREFERRED = {"model": "crate_nano", "data": "imagefolder"}  # of several options that have a key


def absent_key(cfg: DictConfig, key: str, names: list[str], at: str) -> UserError:
    """Return the error for a key of the tree `cfg`, whose node `at` has only the keys `names`.

    Suggests other options of its group that have it (`model.sparsity` of a ViT), then the same name
    elsewhere in the tree (`lr` -> `optimizer.lr`), then names that are alike.
    """
    group = key.partition(".")[0]
    if key in declared() and group in SCHEMAS:
        return _of_other_options(cfg, key, group)
    part = key[len(at) :].partition(".")[0]
    return _elsewhere(cfg, key) or unknown_key(f"{at}{part}", names, at)


def unknown_key(key: str, names: list[str], at: str) -> UserError:
    """Return the error for a key that a node of the tree does not have, nearest names first."""
    last = key[len(at) :]
    names = [name for name in names if not name.startswith("_")]
    if not close(last, ["kwargs"], 0.8):  # keys that the schema lacks are arguments as well
        names = [name for name in names if name != "kwargs"]
    slip = close(last, names)
    guess = f"; did you mean {at}{slip[0]}?" if slip else ""
    return UserError(
        f"there is no key {key}{guess}",
        shorten((f"{at}{name}" for name in nearest(last, names)), 8),
        f"{at}{slip[0]}=VALUE" if slip else None,
    )


def _of_other_options(cfg: DictConfig, key: str, group: str) -> UserError:
    """Return the error for a key that other options of its group have, but not the chosen one."""
    kind, owners = type_of(cfg[group]), {each.owner for each in declared()[key]}
    having = [name for name in options(group, [CONF]) if schema_of(group, name, [CONF]) in owners]
    option = PREFERRED.get(group) if PREFERRED.get(group) in having else having[0]
    about = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    return UserError(
        f"there is no key {key}: {group} is {kind.__name__} ({about})",
        f"{group}={', '.join(having)} {'has' if len(having) == 1 else 'have'} this key",
        f"{group}={option} {key}=VALUE",
    )


def _elsewhere(cfg: DictConfig, key: str) -> UserError | None:
    """Return the error for a key that the tree has elsewhere, if so: lr, optimizer.lr."""
    last = key.split(".")[-1]
    elsewhere = [path for path in _paths(cfg) if path.split(".")[-1] == last and path != key]
    elsewhere = [path for path in elsewhere if not path.startswith("sweep.")]
    if not elsewhere:
        return None
    return UserError(
        f"there is no key {key}; did you mean {elsewhere[0]}?",
        shorten(elsewhere),
        f"{elsewhere[0]}=VALUE",
    )


def _paths(node: DictConfig, at: str = "") -> Iterator[str]:
    for key in map(str, node):
        child = node._get_node(key)
        yield f"{at}{key}"
        if isinstance(child, DictConfig):
            yield from _paths(child, f"{at}{key}.")
