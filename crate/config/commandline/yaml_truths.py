"""A whole number where a YAML file should say true or false, which OmegaConf takes for true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from crate.config.reference.keys import declared
from crate.errors import UserError, raise_all


def require_truths(config: DictConfig, package: str, file: Path) -> None:
    """Raise UserError for each number but 0 and 1 as the value of a key that is true or false.

    `config` is the content of `file`; `package` is the dotted name that its keys are below.
    """
    errors = []
    for name, value in _leaves(OmegaConf.to_container(config), package):
        types = {kind for each in declared().get(name, []) for kind in each.types}
        if types == {bool} and type(value) is int and value not in (0, 1):
            given = f"{name}: {value} in {file} is neither true nor false"
            errors.append(UserError(given, "true, false", f"{name.rpartition('.')[2]}: true"))
    raise_all(errors)


def _leaves(node: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested mapping with their dotted names."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{at}.{key}" if at else str(key))
    else:
        yield at, node
