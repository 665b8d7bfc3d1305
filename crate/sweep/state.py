"""The state of a run, from its folder, its process and its launcher. Imports no torch.

| state | what it means |
|---|---|
| new | never begun |
| queued | waits for a job or a slot, or was requeued |
| running | its process lives and makes steps |
| stalled | its process lives, but has made no step for 10 minutes, or its heartbeat stopped |
| finished | trained to the end |
| failed | ended by an error, which `reason` names |
| stopped | saved and ended at a signal; launching again resumes it |
| cancelled, timeout, out_of_memory | ended by its launcher |
| dead | its process ended without recording a reason: killed, or its machine failed |
| lost | it was submitted, but no job and no launcher has it any more |
| damaged | its status.json cannot be read; running it again resumes from its checkpoint |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from crate.errors import shorten
from crate.run.claim import Claim, JobId
from crate.run.folder import RunFolder
from crate.run.liveness import age_s, is_alive
from crate.run.ownership import owner_of
from crate.run.records import Unreadable
from crate.run.status import Status
from crate.sweep.launchers import LAUNCHERS
from crate.sweep.launchers.exit_mark import exit_mark
from crate.sweep.launchers.launcher import JobState, Phase
from crate.tasks.changes import code_changes

ACTIVE = ("queued", "running", "stalled")
UNFINISHED = (
    *("failed", "stopped", "cancelled", "timeout", "out_of_memory", "dead"),
    *("lost", "damaged"),
)
STALLED_S = 600.0
OTHER_CODE = "trained by other code than the checkout's"


@dataclass(frozen=True)
class RunState:
    """A run's state, the reason, its status.json, and its folder (None if there is none yet)."""

    state: str
    reason: str | None
    status: Status
    path: Path | None

    @property
    def beat_age_s(self) -> float | None:
        """The seconds since the run's status was last written."""
        return age_s(self.path / "status.json") if self.path else None

    @property
    def is_active(self) -> bool:
        """Whether the run works, or waits to."""
        return self.state in ACTIVE


def look(paths: dict[str, Path | None], *, with_code: bool = False) -> dict[str, RunState]:
    """Return the state of each run folder, by signature; ask each launcher once for all of them.

    With `with_code`, the reason of a finished run names the files of its code that changed since.
    """
    damage: dict[str, str] = {}
    statuses: dict[str, Status] = {}
    for key, path in paths.items():
        try:
            statuses[key] = RunFolder(path).read_status() if path else Status()
        except Unreadable as error:
            statuses[key], damage[key] = Status(), error.given.replace(f"{path}/", "")
    jobs = _jobs(status.claim for status in statuses.values() if status.state != "finished")
    states = {}
    for key, status in statuses.items():
        path, job = paths[key], jobs.get(status.claim.job_id) if status.claim else None
        if path is None:
            states[key] = RunState("new", None, status, None)
        else:
            states[key] = RunState(*_state(path, status, job, damage.get(key)), status, path)
        if with_code and path is not None and states[key].state == "finished":
            changed = code_changes(RunFolder(path).meta).get("other_code")
            if changed:
                reason = f"{OTHER_CODE}: {shorten(changed, 3)}"
                states[key] = replace(states[key], reason=reason)
    return states


def _jobs(claims: Iterable[Claim | None]) -> dict[JobId | None, JobState]:
    """Return what the launchers know of the jobs of `claims`; a foreign launcher is silent."""
    names: dict[str, list[str]] = defaultdict(list)
    for claim in claims:
        if claim is not None and claim.job_id is not None:
            names[claim.job_id.launcher].append(claim.job_id.name)
    states: dict[JobId | None, JobState] = {}
    for launcher, jobs in names.items():
        if launcher in LAUNCHERS:
            known = LAUNCHERS[launcher].states(jobs)
        else:
            reason = f"this checkout has no launcher {launcher}"
            known = dict.fromkeys(jobs, JobState(Phase.SILENT, silence=reason))
        states |= {JobId(launcher, name): state for name, state in known.items()}
    return states


def _state(
    path: Path, status: Status, job: JobState | None, damage: str | None
) -> tuple[str, str | None]:
    """Return the state of the run in `path`, and the reason."""
    word = status.state
    if word is None and damage is None:
        return "new", None
    if word == "finished":
        return "finished", None
    if owner_of(path) is not None:
        return _alive(status, path)
    if word is None:
        return "damaged", damage
    if word == "queued" and RunFolder(path).is_cancelled:
        return _ended(word, status, path, None)
    if job is None and _is_being_launched(status.claim, path):
        job = JobState(Phase.RESERVED)
    if job is not None and (state := _before_its_end(word, job)) is not None:
        return state
    return _ended(word, status, path, job)


def _alive(status: Status, path: Path) -> tuple[str, str | None]:
    """Tell running from stalled for a run whose process lives."""
    silent_s = age_s(path / "status.json") or 0.0
    if status.step_at and status.heartbeat:  # both by the clock of its machine
        silent_s += status.heartbeat - status.step_at
    if status.state == "running" and silent_s > STALLED_S:
        return "stalled", f"no step for {silent_s / 60:.0f} min"
    return "running", None


def _is_being_launched(claim: Claim | None, path: Path) -> bool:
    """Tell whether a process that launches the run just now lives."""
    return bool(claim and claim.process and is_alive(claim.process, path / "status.json"))


def _before_its_end(word: str, job: JobState) -> tuple[str, str | None] | None:
    """Return what a run without a live process waits for; None if it waits for nothing.

    `word` is the state that the run wrote last.
    """
    if job.phase is Phase.WAITING:
        return "queued", None
    if job.phase is Phase.RESERVED:
        return ("queued", None) if word == "queued" else None
    if job.phase is Phase.WORKING:
        if word == "running":
            return "stalled", "its job runs, but its process sends no heartbeat"
        return None if word == "failed" else ("queued", None)
    if job.phase is Phase.SILENT and word in ("queued", "running"):
        return "queued" if word == "queued" else "stalled", job.silence
    return None


def _ended(word: str, status: Status, path: Path, job: JobState | None) -> tuple[str, str]:
    """Return how a run ended that is neither finished nor alive."""
    if RunFolder(path).is_cancelled:
        return "cancelled", "cancelled by `python -m crate.sweep cancel`"
    if word in ("failed", "stopped"):
        return word, status.reason or ""
    if job is not None and job.end is not None:
        return job.end
    if word == "queued":
        return _ended_before_it_began(status, path, job)
    if status.sigterm_at:
        return "dead", "ended after SIGTERM: cancelled, preempted or shut down"
    return "dead", "its process ended without recording a reason: killed, or left by a call of exit"


def _ended_before_it_began(status: Status, path: Path, job: JobState | None) -> tuple[str, str]:
    """Return how a job ended whose run never began: by its launcher's word or its own mark."""
    job_id = status.claim.job_id if status.claim else None
    exit_code = exit_mark(path.parent.parent, job_id.name) if job_id else None
    word = job.word if job is not None else None
    if word is None and exit_code is None:
        return "lost", "no job and no launcher has it any more"
    ended = "ended" if word is None else f"ended as {word}"
    code = f" with exit code {exit_code}" if exit_code else ""
    return "failed", f"its job {ended}{code} before the run began; see its logs"
