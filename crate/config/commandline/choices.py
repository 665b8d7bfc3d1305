"""The mistakes of one override that need no tree: its grammar, and options that do not exist."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString

from crate.config.commandline.overrides import quote
from crate.errors import UserError, close, nearest, shorten


def unreadable(text: str, groups: dict[str, list[str]]) -> UserError:
    """Return the error for a text that is outside of Hydra's grammar."""
    key, equals, value = text.partition("=")
    if equals and value[:1] in ("[", "{", "("):
        return UserError(f"cannot read {text!r}", "brackets that close", f"'{key}=[A,B]'")
    if equals and key:
        allowed = "KEY=VALUE, with quotes around a value of unusual characters"
        fix = shlex.quote(f"{key}={quote(value, Quote.double)}")
        return UserError(f"cannot read {text!r}", allowed, fix)
    has_option = [group for group, options in groups.items() if text in options]
    fix = f"{has_option[0]}={text}" if has_option else "KEY=VALUE, without spaces around ="
    return UserError(f"cannot read {text!r}", "KEY=VALUE", fix)


def option_errors(override: Override, options: list[str]) -> Iterator[UserError]:
    """Yield an error for each value of a group's override that is none of its options."""
    key, value = override.key_or_group, override.value()
    if isinstance(value, Glob):
        if not value.filter(options):
            yield UserError(f"{override.input_line} matches no option", shorten(options))
        return
    for option in map(str, each_value(override)):
        if option in options:
            continue
        similar = close(option, options)
        guess = f"; did you mean {key}={similar[0]}?" if similar else ""
        yield UserError(
            f"{key} has no option {option}{guess}",
            shorten(nearest(option, options)),
            f"{key}={similar[0]}" if similar else f"python launch.py --help {key}",
        )


def each_value(override: Override) -> list[Any]:
    """Return the values of an override: those that a sweep takes one by one, or the only one."""
    if not override.is_sweep_override():
        return [override.value()]
    values = list(override.sweep_iterator())
    return [value.text if isinstance(value, QuotedString) else value for value in values]
