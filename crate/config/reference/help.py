"""The answer to `python launch.py --help [KEY | GROUP | OPTION ...]`; imports no torch."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from crate.config.reference.groups import groups, options, schema_of, settings, summary, tables
from crate.config.reference.keys import Key
from crate.config.reference.nodes import LAUNCHER, keys, nodes
from crate.config.reference.words import allowed_in_words, default_in_words, kind_in_words
from crate.config.schema import Config
from crate.errors import UserError, close, nearest, shorten
from crate.paths import CHECKOUT, CONF

TITLES = {"type": kind_in_words, "allowed": allowed_in_words, "default": default_in_words}
GENERAL = Path(__file__).with_name("help.txt")
FLAGS = ("--help", "-h")


def answer(arguments: list[str], own_folders: list[Path]) -> str:
    """Return the help on the words that follow `--help`, or the general help if there are none.

    Raise UserError for a word that is no key, group or option.
    """
    first = min(arguments.index(flag) for flag in FLAGS if flag in arguments)
    topics = []
    for before, word in pairwise(arguments[first:]):
        is_value = before.startswith("-") and "=" not in before and before not in FLAGS
        if not word.startswith("-") and not is_value:
            topics.append(word.lstrip("+~"))
    if not topics:
        return GENERAL.read_text()
    return "\n".join("\n".join(_topic(topic, [CONF, *own_folders])) + "\n" for topic in topics)


def _topic(topic: str, folders: list[Path]) -> Iterable[str]:
    """Return the help on a key, a group, an option, or on all keys with the same last name."""
    name, _, value = topic.partition("=")
    known, group = keys(), name.replace(".", "/")
    if group in groups():
        files = options(group, folders)
        if value and value not in files:
            ranked = nearest(value, files)
            fix = f"python launch.py --help {group}={ranked[0]}"
            raise UserError(f"{group} has no option {value}", shorten(ranked), fix)
        return _option(files[value]) if value else _group(group, folders)
    if name in known:
        return _key(name, known[name], folders)
    if ".kwargs." in name and (parent := f"{name.partition('.')[0]}.kwargs") in known:
        return _key(name, known[parent], folders)
    inside = [known[key][0] for key in known if key.startswith(f"{name}.")]
    if inside:
        return _table(f"{name}: {_help_of_node(name)}", inside)
    same = [key for key in known if key.rpartition(".")[2] == name]
    if same:
        return "\n\n".join("\n".join(_key(key, known[key], folders)) for key in same).split("\n")
    files = {file.stem: file for each in groups() for file in options(each, folders).values()}
    if name in files:
        return _option(files[name])
    likely = close(name, [*known, *groups(), *files]) or groups()
    raise UserError(
        f"there is no key, group or option {name}",
        shorten(likely),
        f"python launch.py --help {likely[0]}",
    )


def _key(name: str, declarations: list[Key], folders: list[Path]) -> Iterator[str]:
    """Yield the help on a key; lines that its declarations share are given once."""
    group = "/".join(name.split(".")[:2]) if name.startswith("hydra.") else name.partition(".")[0]
    used = {each.owner: _options_with(each.owner, group, folders) for each in declarations}
    yield from _wrap(f"{name}: {declarations[0].rules.get('help', '')}", 0)
    for title, in_words in TITLES.items():
        values: dict[str, list[str]] = {}
        for each in declarations:
            values.setdefault(in_words(each), []).extend(used[each.owner])
        for value, names in values.items():
            text = value or ("none; an option or you set it" if title == "default" else "")
            where = f"  ({', '.join(dict.fromkeys(names))})" if len(values) > 1 else ""
            yield from _row(title, f"{text}{where}" if text else "")
            title = "" if text else title
    if group in nodes():
        names = list(dict.fromkeys(option for each in declarations for option in used[each.owner]))
        every = len(names) == len(options(group, folders))
        yield from _row("options", "every one" if every else f"{group}=" + ", ".join(names))
    if declarations[0].in_signature:
        yield from _row("counts", "in the run's signature: another value is another run")
    title = "set in"
    for file, value in settings(name, folders):
        yield from _row(title, f"{_short(file)}: {value}")
        title = ""
    module = declarations[0].owner.__module__.replace(".", "/")
    classes = ", ".join(each.owner.__name__ for each in declarations)
    yield from _row("declared", f"{module}.py: {classes}")


def _options_with(node: type, group: str, folders: list[Path]) -> list[str]:
    """Return the options of a group that have the keys which `node` declares."""
    kinds = {name: schema_of(group, name, folders) for name in options(group, folders)}
    return [name for name, kind in kinds.items() if kind is not None and issubclass(kind, node)]


def _group(group: str, folders: list[Path]) -> Iterator[str]:
    yield f"{group}=OPTION: {_help_of_node(group)}"
    files = options(group, folders)
    for name, file in files.items():
        yield from _row(name, summary(file) or _short(file), max(map(len, files)) + 4)
    at = f"{group.replace('/', '.')}."
    if group not in nodes():
        listed = [each[0] for key, each in keys().items() if key.startswith(at)]
        yield from _table("", listed) if listed else ()
    for title, listed in tables(group, folders):
        yield from ("", *_table(title, listed))


def _table(title: str, keys_listed: list[Key]) -> Iterator[str]:
    yield from _wrap(title, 4)
    for key in keys_listed:
        allowed = allowed_in_words(key)
        limits = f": {allowed}" if allowed else ""
        text = f"{key.rules.get('help', '')} ({kind_in_words(key)}{limits})"
        yield from _row(key.name, text, max(len(each.name) for each in keys_listed) + 4)


def _option(file: Path) -> Iterator[str]:
    yield _short(file)
    yield from ("  " + line for line in file.read_text().splitlines())


def _help_of_node(name: str) -> str:
    """Return the help of a field that holds keys, such as `train` or `data.suggested`."""
    own = {
        "experiment": "a recipe that chooses options and sets keys",
        "task": "what to do",
        LAUNCHER: "how the points of a sweep are run",
    }
    node: Any = Config
    for part in name.split("."):
        entry = getattr(node, "__dataclass_fields__", {}).get(part)
        node = entry.default_factory if entry else None
    return own.get(name) or (entry.metadata.get("help", "") if entry else "its keys")


def _short(file: Path) -> str:
    return str(file.relative_to(CHECKOUT) if file.is_relative_to(CHECKOUT) else file)


def _row(title: str, text: str, indent: int = 13) -> Iterator[str]:
    if text:
        yield from _wrap(f"  {title:<{indent - 3}} {text}", indent)


def _wrap(text: str, indent: int) -> list[str]:
    width = max(60, shutil.get_terminal_size((100, 24)).columns)
    return textwrap.wrap(
        text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
