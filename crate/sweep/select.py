"""Which runs of a sweep the words of a command line mean."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crate.config.label import short_names
from crate.errors import UserError, nearest, shorten
from crate.run.claim import Claim
from crate.run.folder import runs_by_signature
from crate.sweep.define.swept import as_words
from crate.sweep.state import RunState, look
from crate.sweep.stored.folder import SweepFolder


class Selection:
    """A sweep and some of its runs: `swept` are their values, `states` what they do.

    `wanted` are words of the command line, `keys` signatures; all runs without either.
    """

    def __init__(
        self, sweep: SweepFolder, wanted: list[str], keys: Iterable[str] | None = None
    ) -> None:
        self.sweep, self.manifest = sweep, sweep.manifest
        self.swept = {key: point.swept for key, point in self.manifest.points.items()}
        if keys is not None:
            self.swept = {key: self.swept[key] for key in keys}
        if wanted:
            self.swept = {key: self.swept[key] for key in _matching(self.swept, wanted)}
        folders = runs_by_signature(sweep.outputs)
        self.paths: dict[str, Path | None] = {key: folders.get(key) for key in self.swept}
        self.states: dict[str, RunState] = look(self.paths, with_code=True)

    @property
    def is_active(self) -> bool:
        """Whether a run is at work, or waits for its turn."""
        return any(state.is_active for state in self.states.values())

    def in_states(self, *states: str) -> list[str]:
        """Return the signatures of the runs in one of `states`, in the sweep's order."""
        return [key for key in self.swept if self.states[key].state in states]

    def is_own(self, key: str) -> bool:
        """Tells whether the job or pool that a run belongs to was started for this sweep."""
        claim = self.states[key].status.claim or Claim()
        attempts = self.manifest.points[key].attempts
        return claim.job_id is not None and claim.job_id in {each.job_id for each in attempts}


def _matching(swept: dict[str, dict[str, Any]], wanted: list[str]) -> list[str]:
    """Return the runs that every word fits: `sparsity=0.1`, or the start of a signature."""
    if not swept:
        raise UserError("the sweep has no run that its files tell of")
    matching = [
        key for key, values in swept.items() if all(_fits(key, values, word) for word in wanted)
    ]
    if matching:
        return matching
    for word in wanted:
        if not any(_fits(key, values, word) for key, values in swept.items()):
            raise _unknown(word, swept)
    raise UserError(
        f"no run of the sweep is {' '.join(wanted)}",
        shorten((f"{as_words(values)} ({key})" for key, values in swept.items()), 6),
        as_words(next(iter(swept.values()))),
    )


def _fits(key: str, values: dict[str, Any], word: str) -> bool:
    name, sign, value = word.partition("=")
    if not sign:
        return key.startswith(word)
    return any(_is_ending(name, full) and _is_same(value, each) for full, each in values.items())


def _is_ending(name: str, key: str) -> bool:
    return key == name or key.endswith(f".{name}")


def _is_same(text: str, value: Any) -> bool:
    """Return whether a typed value is a swept one; numbers may be written in another way."""
    if text == str(value):
        return True
    if isinstance(value, bool) or value is None:
        return text.lower() == ("null" if value is None else str(value).lower())
    try:
        return isinstance(value, int | float) and float(text) == value
    except ValueError:
        return False


def _unknown(word: str, swept: dict[str, dict[str, Any]]) -> UserError:
    """Return the error for a word that fits no run, with what is nearest to it."""
    name, sign, value = word.partition("=")
    names = short_names(key for values in swept.values() for key in values)
    matching = {key: short for key, short in names.items() if _is_ending(name, key)}
    if not sign:
        given = f"{word} is neither KEY=VALUE nor the start of a signature"
        ranked = nearest(word, swept)
        return UserError(given, shorten([*names.values(), *ranked], 8), ranked[0])
    if not matching:
        ranked = nearest(name, names.values())
        given = f"no run of the sweep is {word}: it does not vary {name}"
        return UserError(given, shorten(ranked), f"{ranked[0]}=VALUE")
    key, short = next(iter(matching.items()))
    present = dict.fromkeys(str(values[key]) for values in swept.values() if key in values)
    ranked = _by_distance(value, list(present))
    allowed = f"{short}={', '.join(ranked[:12])}"
    return UserError(f"no run of the sweep is {word}", allowed, f"{short}={ranked[0]}")


def _by_distance(value: str, present: list[str]) -> list[str]:
    """Return values with the nearest first: by difference of numbers, otherwise by spelling."""
    try:
        return sorted(present, key=lambda text: abs(float(text) - float(value)))
    except ValueError:
        return nearest(value, present)
