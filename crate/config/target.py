"""Builds what a node's `_target_` names, and checks a user's own target before anything starts."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter
from typing import Any

from crate.config.dotted_names import own_classes
from crate.config.parameters import VARIADIC, full_signature
from crate.config.schema import (
    Augment,
    Config,
    Data,
    Evaluator,
    Model,
    Optimizer,
    Schedule,
    Target,
    Tracker,
    pair,
    targets,
)
from crate.errors import UserError, close, nearest, shorten

# What the platform passes to a target beside the node's fields and kwargs: (positional, named).
_PASSED: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Model: ((), ()),
    Optimizer: (("parameter_groups",), ()),
    Data: ((), ("split",)),
    Schedule: ((), ("total_steps", "steps_per_epoch")),
    Augment: ((), ("img_size",)),
    Tracker: ((), ()),
    Evaluator: (("model", "batches", "ranks"), ()),
}


def call(node: Target, *args: Any, **extra: Any) -> Any:
    """Return `node._target_` called with `args`, the node's arguments and `extra`.

    Raise UserError when the target cannot be imported, or refuses its arguments.
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
        if entry.name in _argument_names(node)
        and not (entry.metadata.get("own_class") and getattr(node, entry.name) == entry.default)
    }
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    } | node.kwargs


def _argument_names(node: Target) -> list[str]:
    return [
        entry.name
        for entry in fields(node)
        if entry.name not in ("_target_", "kwargs") and entry.metadata.get("argument", True)
    ]


def locate(name: str, key: str = "_target_") -> Callable[..., Any]:
    """Return the class or function of a dotted name, the value of `key`.

    Raise UserError when there is none.
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
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        ranked = shorten(nearest(attribute, public), 6)
        raise UserError(f"{module_name} has no {attribute} to call", ranked, example)
    return found


def own_target_errors(config: Config) -> list[UserError]:
    """Check each of the user's own targets against its signature; built-in ones are not loaded."""
    errors = []
    for key, node in targets(config).items():
        errors += _own_class_errors(key, node)
        if node.is_own:
            wrong = _clashes(key, node) or _signature_errors(key, node)
            if isinstance(node, Model) and not wrong:
                wrong = _refusal(node, config.data)
            errors += wrong
        elif node.kwargs:
            errors.append(not_own(key))
    return errors


def _own_class_errors(at: str, node: Target) -> list[UserError]:
    """Return an error for each class in a field that is not there, or takes other arguments."""
    errors = []
    for field_name, name in own_classes(node).items():
        key = f"{at}.{field_name}"
        expected = type(node).__dataclass_fields__[field_name].metadata["own_class"]
        try:
            full_signature(locate(name, key)).bind(*expected)
        except UserError as error:
            errors.append(error)
        except TypeError as error:
            given = f"{key}: {name} cannot be called as {name.rpartition('.')[2]}"
            given += f"({', '.join(expected)}): {error}"
            errors.append(UserError(given, f"a class that takes {', '.join(expected)}"))
        except ValueError:  # a built-in callable without a signature to check
            continue
    return errors


def not_own(group: str) -> UserError:
    """Return the error for `kwargs` of a node that is not a user's own."""
    return UserError(
        f"{group}.kwargs is for a _target_ of your own",
        f"the keys of {group}; see python launch.py --cfg job",
        f"{group}.KEY=VALUE",
    )


def _clashes(group: str, node: Target) -> list[UserError]:
    """Return an error for each of the kwargs that the target gets from elsewhere already."""
    from_fields, from_platform = _argument_names(node), _passed(node)[1]
    errors = []
    for name in node.kwargs:
        if name in from_fields:
            given = f"{group}.kwargs.{name} is given by {group}.{name} already"
            errors.append(UserError(given, "one of them", f"{group}.{name}=VALUE"))
        elif name in from_platform:
            given = f"{group}.kwargs.{name}: the platform passes {name} to {node._target_}"
            errors.append(UserError(given, f"{group}.kwargs without {name}"))
    return errors


def _passed(node: Target) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return next(passed for base, passed in _PASSED.items() if isinstance(node, base))


def _signature_errors(group: str, node: Target) -> list[UserError]:
    try:
        signature = full_signature(locate(node._target_))
    except UserError as error:
        return [error]
    except ValueError:  # some built-in callables have none to check against
        return []
    positional, named = _passed(node)
    given = arguments(node)
    try:
        signature.bind(*positional, **given, **dict.fromkeys(named))
    except TypeError as error:
        taken = list(signature.parameters.values())[len(positional) :]
        names = [
            each.name for each in taken if each.kind not in VARIADIC and each.name not in named
        ]
        is_open = any(each.kind is Parameter.VAR_KEYWORD for each in taken)
        refused = [] if is_open else [name for name in given if name not in names]
        what = ", ".join(refused) or f"these arguments: {error}"
        return [
            UserError(
                f"{group}: {node._target_} does not take {what}",
                shorten(nearest(refused[0], names) if refused else names) or "no arguments",
                _how_to_mend(group, node, refused, names),
            )
        ]
    return []


def _how_to_mend(group: str, node: Target, refused: list[str], names: list[str]) -> str:
    from_schema = [name for name in refused if name in _argument_names(node)]
    if from_schema:
        return (
            f"{', '.join(from_schema)} as parameters of {node._target_}, to which the schema "
            f"{type(node).__name__} passes them; or a YAML file without `defaults`"
        )
    keys = [entry.name for entry in fields(node) if entry.name not in ("_target_", "kwargs")]
    slips = close(refused[0], [*names, *keys]) if refused else []
    name = slips[0] if slips else "NAME"
    example = f"{group}.{name}=VALUE"
    return example if name in keys else f"{example}, or kwargs: {{{name}: VALUE}} in a YAML file"


def _refusal(node: Model, data: Data) -> list[UserError]:
    """Return why a model's function refuses its arguments or the data; it has a `check` for that.

    Such a check is called with an image's shape (channels, height, width), the number of classes
    and the arguments, and raises ValueError.
    """
    target = locate(node._target_)
    check = getattr(target, "check", None) if inspect.isfunction(target) else None
    if check is None:
        return []
    from crate.model.from_timm import ArgumentError  # imports torch, as the target has done

    try:
        check((data.in_chans, *pair(data.img_size)), data.num_classes, **arguments(node))
    except ArgumentError as error:
        fix = f"no model.kwargs.{error.argument}"
        for name, value in error.instead.items():
            fix = f"{_key(name, node)}={'VALUE' if value is None else value}"
        return [UserError(error.given, error.allowed, fix)]
    except ValueError as error:
        return [UserError(str(error))]
    return []


def _key(argument: str, node: Model) -> str:
    """Return the key that sets an argument of a model's function."""
    if argument == "img_size":
        return "data.img_size"
    return f"{'' if argument in node.kwargs else '+'}model.kwargs.{argument}"
