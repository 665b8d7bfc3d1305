"""Which runs of a sweep the words of a command line mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crate.config.errors import UserError, shorten
from crate.runfolder import runs_by_signature
from crate.status import Claim
from crate.sweep.folder import SweepFolder
from crate.sweep.state import RunState, look
from crate.sweep.table import words


class Selection:
    """A sweep and some of its runs: `swept` are their values, `states` what they do."""

    def __init__(self, sweep: SweepFolder, wanted: list[str]) -> None:
        self.sweep, self.manifest = sweep, sweep.manifest
        self.swept = {key: point.swept for key, point in self.manifest.points.items()}
        if wanted:
            self.swept = {key: self.swept[key] for key in _matching(self.swept, wanted)}
        folders = runs_by_signature(sweep.outputs)
        self.paths: dict[str, Path | None] = {key: folders.get(key) for key in self.swept}
        self.states: dict[str, RunState] = look(self.paths, with_code=True)

    def in_states(self, *states: str) -> list[str]:
        return [key for key in self.swept if self.states[key].state in states]

    def is_own(self, key: str) -> bool:
        """Tells whether the job or pool that a run belongs to was started for this sweep."""
        claim = self.states[key].status.claim or Claim()
        if claim.slurm:
            return claim.slurm in {each.slurm for each in self.manifest.points[key].attempts}
        return Path(claim.pool or "").parent == self.sweep.path


def _matching(swept: dict[str, dict[str, Any]], wanted: list[str]) -> list[str]:
    """Returns the runs that every word fits: `sparsity=0.1`, or the start of a signature."""
    found = [
        key
        for key, values in swept.items()
        if all(key.startswith(word) or _has(values, word) for word in wanted)
    ]
    if not swept:
        raise UserError("the sweep has no run that its files tell of")
    if not found:
        raise UserError(
            f"no run of the sweep is {' '.join(wanted)}",
            shorten((f"{words(values)} ({key})" for key, values in swept.items()), 6),
            words(next(iter(swept.values()))),
        )
    return found


def _has(values: dict[str, Any], word: str) -> bool:
    key, _, value = word.partition("=")
    return any(
        value == str(each) and key in (name, name.rpartition(".")[2])
        for name, each in values.items()
    )
