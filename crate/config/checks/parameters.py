"""The parameters that a callable takes, those of its base classes included."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def full_signature(target: Callable[..., Any]) -> Signature:
    """Return the signature of `target`, with the parameters that its `**kwargs` stand for.

    The `__init__` of a class often passes its `**kwargs` to the base class. If it uses them for
    nothing more, they are replaced by the parameters of the base, so that a misspelt name is found.
    Raise ValueError for a built-in callable without a signature.
    """
    signature = inspect.signature(target)
    if not inspect.isclass(target) or not any(map(_is_open, signature.parameters.values())):
        return signature
    first, *bases = [kind for kind in target.__mro__ if "__init__" in vars(kind)]
    parameters = {each.name: each for each in _parameters(first) if not _is_open(each)}
    taken = set(parameters)  # names that the user cannot give to a base class
    call = _call_of_base(first)
    for base in bases:
        if call is None:
            break
        own = _parameters(base)
        inherited = [each for each in own if each.kind not in VARIADIC]
        num_positional = sum(not isinstance(each, ast.Starred) for each in call.args)
        taken |= {each.name for each in inherited[:num_positional]}
        taken |= {keyword.arg for keyword in call.keywords if keyword.arg}
        for each in inherited:
            if each.name not in taken:
                parameters[each.name] = each.replace(kind=Parameter.KEYWORD_ONLY)
        if not any(map(_is_open, own)):  # every name is known
            ordered = sorted(parameters.values(), key=lambda each: each.kind)
            return signature.replace(parameters=ordered)
        taken |= {each.name for each in inherited}
        call = _call_of_base(base)
    return signature


def _parameters(kind: type) -> list[Parameter]:
    return list(inspect.signature(vars(kind)["__init__"]).parameters.values())[1:]  # without self


def _is_open(parameter: Parameter) -> bool:
    return parameter.kind is Parameter.VAR_KEYWORD


def _call_of_base(kind: type) -> ast.Call | None:
    """Return the call `super().__init__(..., **kwargs)` if `kwargs` are used for nothing else."""
    kwargs = next(each.name for each in _parameters(kind) if _is_open(each))
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(vars(kind)["__init__"])))
    except (OSError, TypeError, SyntaxError):
        return None
    nodes = list(ast.walk(tree))
    uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == kwargs]
    calls = [
        node
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "super().__init__"
        and any(keyword.arg is None and keyword.value in uses for keyword in node.keywords)
    ]
    return calls[0] if len(uses) == len(calls) == 1 else None
