"""How a node's `_target_` is found, and called with the node's fields and `kwargs`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from crate.config.schema import Target
from crate.errors import UserError, nearest, shorten


def call(node: Target, *args: Any, **extra: Any) -> Any:
    """Return `node._target_` called with `args`, the node's arguments and `extra`.

    Raise UserError if the target cannot be imported, or refuses its arguments.
    """
    target = locate(node._target_)
    try:
        return target(*args, **{**arguments(node), **extra})
    except UserError:
        raise
    except (TypeError, ValueError, FileNotFoundError) as error:
        raise UserError(f"{node._target_}: {error}") from error


def arguments(node: Target) -> dict[str, Any]:
    """Return what a node passes to its target by name: fields of its schema, then its kwargs."""
    values = {
        entry.name: getattr(node, entry.name)
        for entry in fields(node)
        if entry.name in argument_names(node)
        and not (entry.metadata.get("own_class") and getattr(node, entry.name) == entry.default)
    }
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    } | node.kwargs


def argument_names(node: Target) -> list[str]:
    """Return the fields of a node's schema that are passed to its target."""
    return [
        entry.name
        for entry in fields(node)
        if entry.name not in ("_target_", "kwargs") and entry.metadata.get("argument", True)
    ]


def locate(name: str, key: str = "_target_") -> Callable[..., Any]:
    """Return the class or function with a dotted name, which is the value of `key`.

    Raise UserError if there is none.
    """
    module_name, _, attribute = name.rpartition(".")
    example = f"{key}: package.module.Name" if key == "_target_" else f"{key}=package.module.Name"
    if not module_name:
        raise UserError(f"{key}={name} names no module", "a dotted name", example)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        given, top = f"{key}={name} cannot be imported: {error}", module_name.partition(".")[0]
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == top
        fix = f"--config-dir=FOLDER, the folder that holds {top}" if is_absent else example
        where = "a module in the checkout, in --config-dir or installed"
        raise UserError(given, where, fix) from error
    target: Callable[..., Any] | None = getattr(module, attribute, None)
    if target is None or not callable(target):
        public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        ranked = shorten(nearest(attribute, public), 6)
        raise UserError(f"{module_name} has no {attribute} to call", ranked, example)
    return target
