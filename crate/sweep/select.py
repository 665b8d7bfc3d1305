"""A sweep and some of its runs, with their present states."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crate.run.claim import Claim
from crate.run.folder import runs_by_signature
from crate.sweep.match import matching
from crate.sweep.state import RunState, look
from crate.sweep.stored.folder import SweepFolder


class Selection:
    """Some runs of a sweep, as they are now.

    `swept` holds their swept values, `paths` their folders and `states` their states, each by
    signature and in the sweep's order. Of all runs, `keys` selects by signature, and `words` by the
    words of a command line; see `crate.sweep.match`.
    """

    def __init__(
        self, sweep: SweepFolder, words: list[str], keys: Iterable[str] | None = None
    ) -> None:
        self.sweep, self.manifest = sweep, sweep.manifest
        self.swept = {key: point.swept for key, point in self.manifest.points.items()}
        if keys is not None:
            self.swept = {key: self.swept[key] for key in keys}
        if words:
            self.swept = {key: self.swept[key] for key in matching(self.swept, words)}
        folders = runs_by_signature(sweep.outputs)
        self.paths: dict[str, Path | None] = {key: folders.get(key) for key in self.swept}
        self.states: dict[str, RunState] = look(self.paths, with_code=True)

    @property
    def is_active(self) -> bool:
        """Whether a run is at work or waits for its turn."""
        return any(state.is_active for state in self.states.values())

    def in_states(self, *states: str) -> list[str]:
        """Return the signatures of the runs in one of `states`, in the sweep's order."""
        return [key for key in self.swept if self.states[key].state in states]

    def is_own(self, key: str) -> bool:
        """Return whether the job that a run belongs to was started for this sweep."""
        claim = self.states[key].status.claim or Claim()
        attempts = self.manifest.points[key].attempts
        return claim.job_id is not None and claim.job_id in {each.job_id for each in attempts}
