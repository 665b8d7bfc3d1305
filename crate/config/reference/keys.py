"""The keys that the schema declares, known before anything is composed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from crate.config.schema import SCHEMAS, Config, Target


@dataclass(frozen=True)
class Key:
    """One declaration of a dotted key: its field, its type, and the dataclass that has it."""

    name: str
    hint: Any  # a type, or a special form such as `int | None`
    field: Field[Any]
    owner: type

    @property
    def rules(self) -> Mapping[str, Any]:
        """What `crate.config.schema.option` was told about the field."""
        return self.field.metadata

    @property
    def types(self) -> set[Any]:
        """The types that its values may have, without None."""
        is_union = get_origin(self.hint) in (Union, UnionType)
        return set(get_args(self.hint) if is_union else [self.hint]) - {type(None)}

    @property
    def node(self) -> type | None:
        """The dataclass of a key that holds further keys; None for a key that holds a value."""
        return next((kind for kind in self.types if _is_node(kind)), None)

    @property
    def in_signature(self) -> bool:
        """Whether another value makes another run."""
        return self.rules.get("identity", True) and not self.name.startswith("hydra.")


def _is_node(kind: object) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


@cache
def declared() -> dict[str, list[Key]]:
    """Return the declarations of each dotted key; a group's key may have one for each option."""
    keys: dict[str, list[Key]] = {}
    for key in walk(Config):
        keys.setdefault(key.name, []).append(key)
        for node in SCHEMAS.get(key.name, ()):
            for inner in walk(node, f"{key.name}."):
                keys.setdefault(inner.name, []).append(inner)
    return keys


def walk(node: type, at: str = "", inherited: bool = True) -> Iterator[Key]:
    """Yield the keys of a dataclass and of those inside it, as `at` and their dotted names.

    Without `inherited`, the fields of base classes are left out. Those of `Target` then count as
    declared by the base class of their group.
    """
    hints, declared_here = get_type_hints(node), set(vars(node).get("__annotations__", {}))
    if Target in node.__bases__:
        declared_here |= set(vars(Target)["__annotations__"])
    for entry in fields(node):
        if inherited or entry.name in declared_here:
            key = Key(f"{at}{entry.name}", hints[entry.name], entry, node)
            yield key
            if key.node is not None:
                yield from walk(key.node, f"{key.name}.")
