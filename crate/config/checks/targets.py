"""Checks of a user's own targets against their signatures; built-in targets are not imported."""

from __future__ import annotations

import inspect
from dataclasses import fields
from inspect import Parameter, Signature
from typing import NamedTuple

from crate.config.checks.own_classes import own_class_errors
from crate.config.checks.parameters import VARIADIC, full_signature
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
from crate.config.target import argument_names, arguments, locate
from crate.errors import UserError, close, nearest, shorten


class Passed(NamedTuple):
    """What the platform passes to a target beside the node's fields and kwargs."""

    positional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


PASSED: dict[type[Target], Passed] = {
    Model: Passed(),
    Optimizer: Passed(positional=("parameter_groups",)),
    Data: Passed(named=("split",)),
    Schedule: Passed(named=("total_steps", "steps_per_epoch")),
    Augment: Passed(named=("img_size",)),
    Tracker: Passed(),
    Evaluator: Passed(positional=("model", "batches", "ranks")),
}


def target_errors(config: Config) -> list[UserError]:
    """Return the errors of each of the user's own targets, and of kwargs for a built-in one."""
    errors: list[UserError] = []
    for name, node in targets(config).items():
        errors += own_class_errors(name, node)
        if not node.is_own:
            errors += [not_own(name)] if node.kwargs else []
        elif clashes := _clashes(name, node) or _signature_errors(name, node):
            errors += clashes
        elif isinstance(node, Model):
            errors += _refusal(node, config.data)
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
    from_fields, from_platform = argument_names(node), _passed(node).named
    errors = []
    for name in node.kwargs:
        if name in from_fields:
            given = f"{group}.kwargs.{name} is given by {group}.{name} already"
            errors.append(UserError(given, "one of them", f"{group}.{name}=VALUE"))
        elif name in from_platform:
            given = f"{group}.kwargs.{name}: the platform passes {name} to {node._target_}"
            errors.append(UserError(given, f"{group}.kwargs without {name}"))
    return errors


def _passed(node: Target) -> Passed:
    return next(passed for base, passed in PASSED.items() if isinstance(node, base))


def _signature_errors(group: str, node: Target) -> list[UserError]:
    """Return the error of arguments that the target does not take, or of those that it lacks."""
    try:
        signature = full_signature(locate(node._target_, f"{group}._target_"))
    except UserError as error:
        return [error]
    except ValueError:  # some built-in callables have none to check against
        return []
    positional, named = _passed(node)
    try:
        signature.bind(*positional, **arguments(node), **dict.fromkeys(named))
    except TypeError as error:
        return [_unfitting(group, node, signature, error)]
    return []


def _unfitting(group: str, node: Target, signature: Signature, error: TypeError) -> UserError:
    """Return what to do about arguments that do not fit the signature of a target."""
    positional, named = _passed(node)
    taken = list(signature.parameters.values())[len(positional) :]
    names = [each.name for each in taken if each.kind not in VARIADIC and each.name not in named]
    is_open = any(each.kind is Parameter.VAR_KEYWORD for each in taken)
    refused = [] if is_open else [name for name in arguments(node) if name not in names]
    what = ", ".join(refused) or f"these arguments: {error}"
    return UserError(
        f"{group}: {node._target_} does not take {what}",
        shorten(nearest(refused[0], names) if refused else names) or "no arguments",
        _how_to_mend(group, node, refused, names),
    )


def _how_to_mend(group: str, node: Target, refused: list[str], names: list[str]) -> str:
    from_schema = [name for name in refused if name in argument_names(node)]
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
