"""Builds what a node's `_target_` names, and checks a user's own target before anything starts."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from crate.config.errors import UserError, nearest, shorten
from crate.config.schema import (
    Augment,
    Config,
    Data,
    Model,
    Optimizer,
    Schedule,
    Target,
    Tracker,
    pair,
)

# What the platform passes to a user's own target beside `kwargs`, as (positional, named).
_PASSED: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Model: ((), ()),
    Optimizer: (("groups",), ("lr",)),
    Data: ((), ("split",)),
    Schedule: ((), ("total_steps", "steps_per_epoch")),
    Augment: ((), ("img_size",)),
    Tracker: ((), ()),
}


def call(node: Target, *args: Any, **extra: Any) -> Any:
    """Returns `node._target_` called with `args`, the node's fields, its `kwargs` and `extra`.

    Raises UserError when the target cannot be imported, or refuses its arguments.
    """
    target = locate(node._target_)
    arguments = {}
    for entry in fields(node):
        if entry.name not in ("_target_", "kwargs") and entry.metadata.get("argument", True):
            value = getattr(node, entry.name)
            arguments[entry.name] = tuple(value) if isinstance(value, list) else value
    try:
        return target(*args, **{**arguments, **node.kwargs, **extra})
    except UserError:
        raise
    except (TypeError, ValueError, FileNotFoundError) as error:
        raise UserError(f"{node._target_}: {error}") from error


def locate(name: str) -> Callable[..., Any]:
    """Returns the class or function of a dotted name; raises UserError when there is none."""
    module_name, _, attribute = name.rpartition(".")
    example = "_target_: package.module.Name"
    if not module_name:
        raise UserError(f"_target_={name} names no module", "a dotted name", example)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        where = "a module in the checkout, in --config-dir or installed"
        raise UserError(f"_target_={name} cannot be imported: {error}", where, example) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        ranked = shorten(nearest(attribute, public), 6)
        raise UserError(f"{module_name} has no {attribute} to call", ranked, example)
    return found


def is_own(node: Target) -> bool:
    """Tells whether a node is a user's own: typed by a base class, not by a built-in option."""
    return type(node) in _PASSED


def own_target_errors(config: Config) -> list[UserError]:
    """Checks each of the user's own targets against its signature; built-in ones are not loaded."""
    errors = []
    for entry in fields(config):
        node = getattr(config, entry.name)
        if isinstance(node, Target) and is_own(node):
            found = _signature_errors(entry.name, node)
            if isinstance(node, Model) and not found:
                found = _refusal(node, config.data)
            errors += found
        elif isinstance(node, Target) and node.kwargs and not is_own(node):
            errors.append(
                UserError(
                    f"{entry.name}.kwargs is for a _target_ of your own",
                    f"the keys of {entry.name}; see python launch.py --cfg job",
                    f"{entry.name}.KEY=VALUE",
                )
            )
    return errors


def _signature_errors(group: str, node: Target) -> list[UserError]:
    try:
        target = locate(node._target_)
        signature = inspect.signature(target)
    except UserError as error:
        return [error]
    except ValueError:  # some built-in callables have none to check against
        return []
    positional, named = _PASSED[type(node)]
    passed = {name: None for name in named} | node.kwargs
    try:
        signature.bind(*positional, **passed)
    except TypeError as error:
        names = [name for name in signature.parameters if name not in named][len(positional) :]
        return [
            UserError(
                f"{group}: {node._target_} does not take these kwargs: {error}",
                shorten(names) or "no arguments",
                f"{group}.kwargs in your YAML file",
            )
        ]
    return []


def _refusal(node: Model, data: Data) -> list[UserError]:
    """What a model's function says of its kwargs and the data in a `check` of its own, if any."""
    target = locate(node._target_)
    check = getattr(target, "check", None) if inspect.isfunction(target) else None
    try:
        if check is not None:
            image_shape = (data.in_chans, *pair(data.img_size))
            check(image_shape, data.num_classes, **node.kwargs)
    except ValueError as error:
        return [UserError(str(error))]
    return []
