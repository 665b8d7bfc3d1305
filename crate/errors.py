"""Errors that the user can fix: what was given, what is allowed, what to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user, shown as a message without a traceback.

    `given` is what the user gave and why it is refused, `allowed` what is accepted, and `fix` what
    to type.
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
    """Several mistakes, reported at once."""

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = list(errors)
        ValueError.__init__(self, "\nerror: ".join(str(error) for error in self.errors))


def raise_all(errors: list[UserError]) -> None:
    """Raise the errors, if there are any: a single one as it is, several as `UserErrors`."""
    if errors:
        raise errors[0] if len(errors) == 1 else UserErrors(errors)


def close(name: str, names: Iterable[str], cutoff: float = 0.5) -> list[str]:
    """Return up to three of `names` that `name` may be a misspelling of, the likeliest first.

    `cutoff` is the least similarity, from 0 to 1.
    """
    return difflib.get_close_matches(name.lower(), list(names), n=3, cutoff=cutoff)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return all `names`: first those most like `name`, then the others in their order."""
    names, first = list(names), close(name, names)
    return first + [other for other in names if other not in first]


def shorten(names: Iterable[str], most: int = 12) -> str:
    """Return names joined by commas; of a long list, the first `most` and the number of others."""
    names = list(names)
    others = len(names) - most
    return ", ".join(names[:most]) + (f", and {others} more" if others > 0 else "")
