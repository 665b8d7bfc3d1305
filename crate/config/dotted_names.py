"""The classes and functions that a configuration names, the user's own among them."""

from __future__ import annotations

from dataclasses import fields

from crate.config.schema import Config, Target, targets


def own_classes(node: Target) -> dict[str, str]:
    """Return {field: dotted name} where a field names a class of the user instead of a choice."""
    return {
        entry.name: value
        for entry in fields(node)
        if entry.metadata.get("own_class") and "." in (value := getattr(node, entry.name))
    }


def dotted_names(config: Config, *, own: bool = False) -> set[str]:
    """Return the dotted names of all targets and of the user's classes in their fields.

    With `own` the targets that the schema names are left out.
    """
    names: set[str] = set()
    for node in targets(config).values():
        names |= {*own_classes(node).values()}
        if node.is_own or not own:
            names.add(node._target_)
    return names
