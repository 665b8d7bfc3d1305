"""One form for everything that is the user's to mend: given, allowed, what to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user's: shown as a message, never as a traceback.

    `given` says what was found and why it cannot be, `allowed` what can be, `fix` what to type.
    """

    def __init__(self, given: str, allowed: str | None = None, fix: str | None = None) -> None:
        self.given, self.allowed, self.fix = given, allowed, fix
        rows = [given]
        if allowed:
            rows.append(f"  allowed: {allowed}")
        if fix:
            rows.append(f"  type:    {fix}")
        super().__init__("\n".join(rows))


class UserErrors(UserError):
    """Several mistakes at once, so that one round mends them all."""

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = list(errors)
        ValueError.__init__(self, "\nerror: ".join(str(error) for error in self.errors))


def raise_all(errors: list[UserError]) -> None:
    """Raises what was found: nothing, the one error, or all of them together."""
    if errors:
        raise errors[0] if len(errors) == 1 else UserErrors(errors)


def close(name: str, names: Iterable[str], cutoff: float = 0.5) -> list[str]:
    """Return the up to three of `names` that `name` may be a slip for, the likeliest first.

    `cutoff` is the least similarity, from 0 to 1.
    """
    return difflib.get_close_matches(name.lower(), list(names), n=3, cutoff=cutoff)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Returns all `names`, those most like `name` first and the rest in their order."""
    names, first = list(names), close(name, names)
    return first + [other for other in names if other not in first]


def shorten(names: Iterable[str], most: int = 12) -> str:
    """Returns names joined by commas, cut with a count so that a message stays short."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f", and {rest} more" if rest > 0 else "")
