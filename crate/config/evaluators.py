"""The evaluators of a configuration: plain nodes that the user adds, turned into typed ones."""

from __future__ import annotations

import re
from dataclasses import fields

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from crate.config.schema import Evaluator
from crate.errors import UserError

RESERVED = ("train", "val", "test")  # prefixes of the metrics that every run logs
NAMES = "a name of letters, digits, - and _ that starts with a letter"


def typed_evaluators(cfg: DictConfig) -> tuple[DictConfig, list[UserError]]:
    """Return `cfg` with a typed node for each evaluator, and the errors in them.

    `cfg` itself is not changed. Keys beyond the schema become `kwargs`. OmegaConf cannot add a
    typed node to a mapping by `+key=value`; therefore the nodes are plain until here.
    """
    if not cfg.evaluators:
        return cfg, []
    cfg, errors = cfg.copy(), []
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.resolve(cfg.evaluators)
    for name in list(cfg.evaluators):
        node, error = _typed(str(name), cfg.evaluators[name])
        if node is not None:
            cfg.evaluators[name] = node
        if error is not None:
            errors.append(error)
    return cfg, errors


def _typed(name: str, node: DictConfig | object) -> tuple[DictConfig | None, UserError | None]:
    """Return an evaluator's typed node, or the error in its plain node."""
    key = f"evaluators.{name}"
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name in RESERVED:
        taken = f", other than {', '.join(RESERVED)}"
        return None, UserError(f"{key} has no usable name", NAMES + taken, f"+{_example('NAME')}")
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    if not isinstance(node, DictConfig) or not isinstance(target, str):
        given = f"{key} names no function: it has no _target_"
        return None, UserError(given, "the dotted name of a function", f"+{_example(name)}")
    names = [entry.name for entry in fields(Evaluator)]
    values = {str(each): node[each] for each in node}
    own = {each: value for each, value in values.items() if each in names}
    added = {each: value for each, value in values.items() if each not in names}
    twice = sorted(added.keys() & dict(own.get("kwargs") or {}).keys())
    if twice:
        given = f"{key}.{twice[0]} and {key}.kwargs.{twice[0]} are the same argument"
        return None, UserError(given, "one of them", f"{key}.{twice[0]}=VALUE")
    typed = OmegaConf.structured(Evaluator)
    try:
        typed.merge_with(own, {"kwargs": added})
    except OmegaConfBaseException as error:
        return None, UserError(f"{key}: {str(error).splitlines()[0]}")
    return typed, None


def _example(name: str) -> str:
    return f"evaluators.{name}._target_=package.module.function"
