"""The mistakes of one override in a composed tree: unknown keys, and values of another type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config.checks.targets import not_own
from crate.config.checks.unknown import absent_key
from crate.config.commandline.choices import each_value
from crate.config.own import is_own, type_of
from crate.config.reference.keys import walk
from crate.config.reference.words import allowed_in_words, kind_in_words
from crate.config.schema import SCHEMAS
from crate.errors import UserError, shorten


def misfits(
    cfg: DictConfig, override: Override, groups: dict[str, list[str]]
) -> Iterator[UserError]:
    """Yield the errors of an override whose key is unknown, or whose values do not fit.

    `groups` holds the options of each group.
    """
    key = override.key_or_group
    if key.startswith("sweep.") and cfg.sweep is None:
        given = f"{key} belongs to a sweep file, and none is chosen"
        yield UserError(given, "sweep=NAME, or -m KEY=A,B without a file", "sweep=NAME ...")
        return
    node: object = cfg
    at = ""
    for part in key.split("."):
        if isinstance(node, DictConfig) and part not in list(node):  # "???" counts as present
            yield from _absent(cfg, key, at, node, groups)
            return
        node = node._get_node(part) if isinstance(node, DictConfig) else None
        at += f"{part}."
    yield from _wrong_values(cfg, override)


def _absent(
    cfg: DictConfig, key: str, at: str, node: DictConfig, groups: dict[str, list[str]]
) -> Iterator[UserError]:
    """Yield the error for a key of which `node`, found at `at`, lacks the next part.

    An argument of a user's own target is no mistake, and neither is an entry of a dictionary.
    """
    group, schema = at.partition(".")[0], type_of(node)
    if group in SCHEMAS and is_own(cfg[group]):
        return
    if is_dataclass(schema):
        names = [entry.name for entry in fields(schema)]
        if not at:
            names = list(dict.fromkeys([*(name for name in groups if "/" not in name), *names]))
        yield absent_key(cfg, key, names, at)
    elif group in SCHEMAS:
        yield not_own(group)


def _wrong_values(cfg: DictConfig, override: Override) -> Iterator[UserError]:
    """Yield an error for each value of an override that its key does not take."""
    key, is_new = override.key_or_group, override.is_add() or override.is_force_add()
    for value in each_value(override):
        try:
            OmegaConf.update(cfg.copy(), key, value, force_add=is_new)
        except OmegaConfBaseException as error:
            reason = "null is not a value" if value is None else str(error).splitlines()[0]
            given = "null" if value is None else value
            yield UserError(f"{key}={given}: {reason}", _kind(cfg, key), f"{key}=VALUE")


def _kind(cfg: DictConfig, name: str) -> str | None:
    """Return in words what a key takes; None if its node has no schema."""
    parent, _, last = name.rpartition(".")
    schema = OmegaConf.get_type(OmegaConf.select(cfg, parent) if parent else cfg)
    if not is_dataclass(schema):
        return None
    key = next(each for each in walk(schema) if each.name == last)
    if key.node is not None:
        return "its keys, " + shorten((f"{last}.{each.name}" for each in walk(key.node)), 6)
    if key.rules.get("choices"):
        return allowed_in_words(key)
    words = kind_in_words(key)
    return f"a {words}" if words.startswith(("whole", "number", "list", "path")) else words
