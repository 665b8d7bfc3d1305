"""The declaration of a field of the tree: its default, its help and its rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

NO_NEUTRAL = object()
ON_OFF = {"true": "on", "false": "off"}  # YAML reads the words on and off as booleans


def option(
    default: Any,
    help: str,
    *,
    identity: bool = True,
    neutral: Any = NO_NEUTRAL,
    argument: bool = True,
    choices: tuple[str, ...] | None = None,
    slips: dict[str, str] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    length: int | None = None,
    size: bool = False,
    path: bool = False,
    words: tuple[str, ...] = (),
    own_class: tuple[str, ...] = (),
) -> Any:
    """Return a dataclass field with its documentation and its rules in the metadata.

    - `identity`: the value belongs to the run's identity; `neutral` is the value that does not.
    - `argument`: the value is passed to the target of its node.
    - `choices`: allowed values; one that ends in ":N" stands for any number N. `slips` maps words
      of other programs to the choice that they mean.
    - `at_least`, `at_most`, `above`, `below`: bounds of a number, or of each number in a list.
    - `length`: number of values in a list.
    - `size`: the value is a positive int or a pair (height, width), in pixels.
    - `path`: the value is a path, relative ones in the checkout, or one of `words`.

    `own_class` lists the arguments with which a class of the user is called, whose dotted name the
    field admits beside its choices. Such a field is passed to the target only where it differs from
    its default, so that a target without this parameter works as before.
    """
    metadata = dict(locals())
    default = metadata.pop("default")
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Target:
    """Something built by calling `_target_` with this node's fields and `kwargs`."""

    _target_: str = option(MISSING, "dotted name of the class or function to call")
    kwargs: dict[str, Any] = option({}, "further arguments of your own target", neutral={})

    @classmethod
    def is_own_target(cls, name: str) -> bool:
        """Return whether a target on this schema is a user's own: another than the schema names."""
        return name != cls._target_

    @property
    def is_own(self) -> bool:
        """Whether this node builds a user's own target."""
        return self.is_own_target(self._target_)


def pair(size: int | list[int]) -> tuple[int, int]:
    """Return a size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
