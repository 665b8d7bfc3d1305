"""What a field of the tree is declared with: its default, its help and its rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

NO_NEUTRAL = object()
ON_OFF = {"true": "on", "false": "off"}  # what YAML makes of the words on and off, by its name


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
    """Returns a dataclass field with its documentation and its rules in the metadata.

    `argument=False` keeps a field of a node with a `_target_` from being passed to the target;
    `slips` maps words of other programs to the choice that they mean; a choice that ends in ":N"
    stands for any number N; `size=True` admits a positive int or a pair (height, width); `length`
    is that of a list; `path=True` is found from the checkout when relative, or is one of `words`.

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
    kwargs: dict[str, Any] = option({}, "further arguments of the target", neutral={})

    @classmethod
    def is_own_target(cls, name: str) -> bool:
        """Return whether a target on this schema is a user's own: another than the schema names."""
        return name != cls._target_

    @property
    def is_own(self) -> bool:
        """Whether this node builds a user's own target."""
        return self.is_own_target(self._target_)


def pair(size: int | list[int]) -> tuple[int, int]:
    """Returns a size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
