"""Every key that can be set, as the schema declares it, for `--help KEY` and the docs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import MISSING, OmegaConf

from crate.config import schema
from crate.config.schema import Config, Target

LAUNCHER = "hydra/launcher"
SWEEPER = "hydra.sweeper."
_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Key:
    """A key of the tree as `node`, a class of the schema, declares it."""

    name: str
    node: type
    kind: str
    default: str
    allowed: str
    help: str
    in_signature: bool


@cache
def nodes() -> dict[str, tuple[type, ...]]:
    """Return the classes of the schema by group, each after those that it extends.

    The options of the launchers come from their plugin, as Hydra finds it.
    """
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    schema.register()
    Plugins.instance()
    registered = ConfigStore.instance().repo["schema"]
    found = {}
    for group in (*schema.SCHEMAS, "launcher"):
        kinds = [OmegaConf.get_type(each.node) for each in registered[group].values()]
        bases = [base for kind in kinds for base in reversed(kind.__mro__)]
        used = [base for base in bases if is_dataclass(base) and base is not Target]
        found[LAUNCHER if group == "launcher" else group] = tuple(dict.fromkeys(used))
    return found


def sweeper() -> type:
    """Return the class of the sweeper's options, as its plugin registers them with Hydra."""
    from hydra.core.config_store import ConfigStore

    nodes()
    return OmegaConf.get_type(ConfigStore.instance().repo["hydra"]["sweeper"]["crate.yaml"].node)


@cache
def keys() -> dict[str, list[Key]]:
    """Return every key of the tree by its dotted name, with each of its declarations."""
    found: dict[str, list[Key]] = {}
    everything = list(declared(Config, ""))
    for group, kinds in nodes().items():
        for kind in kinds:
            everything += declared(kind, f"{group.replace('/', '.')}.")
    everything += declared(sweeper(), SWEEPER)
    for key in everything:
        found.setdefault(key.name, []).append(key)
    return found


def declared(node: type, at: str) -> Iterator[Key]:
    """Yield the keys that a class declares, without those of its bases and of other groups."""
    own, hints = vars(node).get("__annotations__", {}), get_type_hints(node)
    if issubclass(node, Target) and node.__mro__[1] is Target:
        own = vars(Target)["__annotations__"] | own
    for entry in fields(node):
        if entry.name not in own:
            continue
        kind = _inner(hints[entry.name])
        if not is_dataclass(kind):
            yield _key(entry, node, hints[entry.name], at)
        elif at or entry.name not in schema.SCHEMAS:
            yield from declared(kind, f"{at}{entry.name}.")


def _key(entry: Field, node: type, hint: Any, at: str) -> Key:
    rules = entry.metadata
    return Key(
        name=f"{at}{entry.name}",
        node=node,
        kind=kind_in_words(hint, rules),
        default=_default_in_words(entry),
        allowed=allowed_in_words(rules),
        help=rules.get("help", ""),
        in_signature=rules.get("identity", True) and not at.startswith("hydra."),
    )


def _inner(hint: Any) -> Any:
    """Return the type of a value that is not null."""
    kinds = [part for part in get_args(hint) if part is not type(None)]
    return kinds[0] if type(None) in get_args(hint) else hint


def kind_in_words(hint: Any, rules: Any) -> str:
    """Return the type of a field as a user has to type its value."""
    kind = _inner(hint)
    if rules.get("choices"):
        words = "choice"
    elif rules.get("size"):
        words = "pixels, or [height,width]"
    elif rules.get("path"):
        words = "path"
    elif get_origin(kind) is list:
        words = f"list of {_PLURALS.get(get_args(kind)[0], 'mappings')}"
    else:
        words = _WORDS.get(kind, "mapping")
    return words if kind is hint else f"{words}, or null"


def allowed_in_words(rules: Any) -> str:
    """Return what the rules of a field allow; empty if that is every value of its type."""
    if rules.get("choices"):
        own = ["the dotted name of your class"] if rules.get("own_class") else []
        return ", ".join([*rules["choices"], *own])
    if rules.get("words"):
        return ", ".join([*rules["words"], "a path"])
    bounds = ("at_least", "above", "at_most", "below")
    given = [
        (name.replace("_", " "), rules[name]) for name in bounds if rules.get(name) is not None
    ]
    parts = [f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}" for word, bound in given]
    parts += [f"{rules['length']} values"] if rules.get("length") else []
    return ", ".join(parts)


def _default_in_words(entry: Field) -> str:
    made = entry.default_factory
    value = entry.default if made is NO_DEFAULT else made()
    if value == MISSING:
        return ""
    if isinstance(value, str):
        return f"as {value[2:-1]}" if value.startswith("${") else value
    return json.dumps(value)
