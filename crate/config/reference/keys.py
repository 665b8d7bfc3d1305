"""The keys that the schema declares, known before anything is composed."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from crate.config.schema import SCHEMAS, Config


@dataclass(frozen=True)
class Key:
    """One declaration of a dotted key: its field, its type, and the dataclass that has it."""

    name: str
    kind: Any
    field: Field[Any]
    owner: type

    @property
    def types(self) -> set[Any]:
        """Return the types that its values may have, without None."""
        is_union = get_origin(self.kind) in (Union, UnionType)
        return set(get_args(self.kind) if is_union else [self.kind]) - {type(None)}


@cache
def declared() -> dict[str, list[Key]]:
    """Return the declarations of each dotted key; a group's key may have one for each option."""
    keys: dict[str, list[Key]] = {}
    for key in walk(Config):
        keys.setdefault(key.name, []).append(key)
        if key.name in SCHEMAS:
            for node in SCHEMAS[key.name]:
                for inner in walk(node, f"{key.name}."):
                    keys.setdefault(inner.name, []).append(inner)
    return keys


def walk(node: type, at: str = "") -> list[Key]:
    """Return the keys of a dataclass and of those inside it, as `at` and their dotted names."""
    keys, hints = [], get_type_hints(node)
    for entry in fields(node):
        key = Key(f"{at}{entry.name}", hints[entry.name], entry, node)
        keys.append(key)
        for kind in key.types:
            if is_dataclass(kind):
                keys += walk(kind, f"{key.name}.")
    return keys
