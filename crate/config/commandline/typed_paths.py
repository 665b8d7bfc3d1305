"""Relative paths, made absolute while it is known what they are relative to.

| where a path is written                 | what it is relative to     |
|-----------------------------------------|----------------------------|
| the command line                        | the current folder         |
| a YAML file below `--config-dir FOLDER` | FOLDER                     |
| a YAML file of the checkout, a default  | the checkout               |

This module handles the first two, before Hydra composes; `check.typed` handles the third. The keys
are the fields of the schema that are declared with `path=True`. Paths in a node's `kwargs` stay as
they are.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, ValueNode

from crate.config.reference.keys import declared
from crate.paths import absolute

SWEPT = ("sweep.grid.", "sweep.zip.")


@cache
def path_keys() -> dict[str, tuple[str, ...]]:
    """Return the dotted keys that take a path, each with the words that it takes as well."""
    return {
        name: each.rules.get("words") or ()
        for name, declarations in declared().items()
        for each in declarations
        if each.rules.get("path")
    }


def make_arguments_absolute(arguments: list[str], folder: Path) -> list[str]:
    """Return a command line with each relative path made absolute, in `folder`.

    A value that Hydra's grammar cannot read, such as `data.root=~/photos`, is taken literally.
    """
    replaced, flag = [], ""
    for word in arguments:
        name, equals, value = word.partition("=")
        if flag:
            replaced.append(str(absolute(word, folder)))
        elif name in ("--config-dir", "-cd") and value:
            replaced.append(f"{name}={absolute(value, folder)}")
        elif equals and not word.startswith("-") and (words := _words_of(name)) is not None:
            replaced.append(f"{name}={_in_grammar(word, value, words, folder)}")
        else:
            replaced.append(word)
        flag = name if name in ("--config-dir", "-cd") and not equals and not flag else ""
    return replaced


def make_file_absolute(config: DictConfig, package: str, folder: Path) -> None:
    """Make the relative paths of a YAML file absolute; `package` is the parent of its keys."""
    at = f"{package}." if package else ""
    for key, words in path_keys().items():
        if key.startswith(at):
            _replace(config, key[len(at) :].split("."), words, folder)


def make_sweep_absolute(sweep: DictConfig, folder: Path) -> None:
    """Make the relative paths among the values of a sweep file absolute."""
    grids = [sweep.get(name) or {} for name in ("grid", "zip")]
    rows = [sweep.get("baseline") or {}]
    rows += [row for name in ("exclude", "published") for row in sweep.get(name) or []]
    for key, words in path_keys().items():
        for row in grids:
            if isinstance(row.get(key), str):  # in Hydra's grammar, as on the command line
                row[key] = _in_grammar(f"{key}={row[key]}", row[key], words, folder)
        for row in (*grids, *rows):
            _replace(row, [key], words, folder)


def _words_of(key: str) -> tuple[str, ...] | None:
    """Return the words that a path key takes as well; None if the key takes no path."""
    key = key.lstrip("+")
    for swept in SWEPT:
        key = key.removeprefix(swept)
    return path_keys().get(key)


def _replace(node: object, key: list[str], words: tuple[str, ...], folder: Path) -> None:
    """Make the value of a nested key absolute, if the file has that key."""
    for part in key[:-1]:
        node = node._get_node(part) if isinstance(node, DictConfig) else None
    if not isinstance(node, DictConfig) or key[-1] not in node:
        return
    value = node._get_node(key[-1])
    if isinstance(value, ListConfig):
        for index, each in enumerate(value):
            value[index] = _absolute_value(each, words, folder)
    elif isinstance(value, ValueNode):
        node[key[-1]] = _absolute_value(value._value(), words, folder)


def _absolute_value(value: Any, words: tuple[str, ...], folder: Path) -> Any:
    """Return a path made absolute; words, interpolations and other types are unchanged."""
    words = (*words, "true", "false") if "on" in words else words  # YAML: on, off
    is_path = isinstance(value, str) and value.lower() not in ("", "???", *words)
    return str(absolute(value, folder)) if is_path and not value.startswith("${") else value


def _in_grammar(word: str, text: str, words: tuple[str, ...], folder: Path) -> str:
    """Return the value of an override with absolute paths, in Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, QuotedString
    from hydra.errors import HydraException

    def one(value: Any) -> str:
        if value is None:
            return "null"
        value = value.text if isinstance(value, QuotedString) else str(value)
        return _quoted(_absolute_value(value, words, folder))

    try:
        value = OverridesParser.create().parse_override(word)._value
    except HydraException:
        return one(text)
    if isinstance(value, ChoiceSweep):
        return ",".join(map(one, value.list))
    if isinstance(value, list):
        return f"[{','.join(map(one, value))}]"
    if isinstance(value, (bool, int, float)):  # a folder named 2024, or data.cache=true
        return one(text) if _absolute_value(text, words, folder) != text else text
    return one(value) if isinstance(value, (str, QuotedString)) else text


def _quoted(value: str) -> str:
    """Return text as a value in Hydra's grammar, quoted if needed."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Quote, QuotedString
    from hydra.errors import HydraException

    try:
        if OverridesParser.create().parse_override(f"key={value}")._value == value:
            return value
    except HydraException:
        pass
    return QuotedString(value, Quote.single).with_quotes()
