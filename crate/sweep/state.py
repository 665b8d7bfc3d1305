"""The state of a run, told from its folder, its process and Slurm's queue. Imports no torch.

| state | what it means |
|---|---|
| new | never begun |
| queued | waits for a job, a slot, or its requeue |
| running | its process lives, and makes steps |
| stalled | its process lives, but has made no step for 10 minutes, or its heartbeat stopped |
| finished | done |
| failed | ended by an error, which `reason` names |
| stopped | saved and ended at a signal; launching again goes on |
| cancelled, timeout, out_of_memory | ended by Slurm |
| dead | its process is gone without a word: killed, or its machine failed |
| lost | it was to be run, but neither job nor launcher knows of it any more |
| damaged | its status.json cannot be read; running it again goes on from its checkpoint |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from crate.errors import shorten
from crate.run import records
from crate.run.claim import Claim
from crate.run.folder import RunFolder
from crate.run.liveness import Owner, age_s, is_alive
from crate.run.ownership import owner_of
from crate.run.records import Unreadable
from crate.run.status import Status
from crate.sweep.launchers.slurm_queue import SlurmQueue
from crate.tasks.changes import code_changes

ACTIVE = ("queued", "running", "stalled")
UNFINISHED = ("failed", "stopped", "cancelled", "timeout", "out_of_memory", "dead")
UNFINISHED += ("lost", "damaged")
STALLED_S = 600.0
OTHER_CODE = "trained by other code than the checkout's"
_ENDED = {
    "CANCELLED": ("cancelled", "cancelled in Slurm"),
    "TIMEOUT": ("timeout", "killed at the time limit"),
    "DEADLINE": ("timeout", "killed at its deadline"),
    "OUT_OF_MEMORY": ("out_of_memory", "killed for its memory"),
    "NODE_FAIL": ("dead", "its machine failed"),
    "BOOT_FAIL": ("dead", "its machine did not start"),
    "PREEMPTED": ("dead", "preempted, and not requeued"),
    "FAILED": ("dead", "its process ended without a word: killed, or left by an exit of its own"),
}


@dataclass(frozen=True)
class RunState:
    """A run's state, why, its status.json, and its folder (None: there is none yet)."""

    state: str
    reason: str | None
    status: Status
    path: Path | None

    @property
    def beat_age_s(self) -> float | None:
        """The seconds since the run's status was written last."""
        return age_s(self.path / "status.json") if self.path else None

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


def look(paths: dict[str, Path | None], *, with_code: bool = False) -> dict[str, RunState]:
    """Return the state of each run folder, by signature; Slurm is asked once for all of them.

    With `with_code`, the reason of a finished run tells which files of its code changed since.
    """
    damage: dict[str, str] = {}
    statuses: dict[str, Status] = {}
    for key, path in paths.items():
        try:
            statuses[key] = RunFolder(path).read_status() if path else Status()
        except Unreadable as error:
            statuses[key], damage[key] = Status(), error.given.replace(f"{path}/", "")
    unfinished = [status for status in statuses.values() if status.state != "finished"]
    queue = SlurmQueue(status.job for status in unfinished if status.job)
    states = {
        key: _state(paths[key], status, queue, damage.get(key)) for key, status in statuses.items()
    }
    for key, state in states.items():
        if with_code and state.state == "finished":
            changed = code_changes(RunFolder(state.path).meta).get("other_code")
            if changed:
                states[key] = replace(state, reason=f"{OTHER_CODE}: {shorten(changed, 3)}")
    return states


def _state(
    path: Path | None, status: Status, queue: SlurmQueue, damage: str | None = None
) -> RunState:
    said, job = status.state, status.job
    if path is None or (said is None and damage is None):
        return RunState("new", None, status, path)
    if said == "finished":
        return RunState("finished", None, status, path)
    if owner_of(path) is not None:
        return RunState(*_alive(status, path), status, path)
    if said is None:
        return RunState("damaged", damage, status, path)
    if said == "queued" and RunFolder(path).cancelled.exists():
        return RunState(*_ended(said, status, path, None), status, path)
    if job and (state := _in_queue(said, job, queue)) is not None:
        return RunState(*state, status, path)
    if said == "queued" and not job and _is_claimed(status.claim, path):
        return RunState("queued", None, status, path)
    return RunState(*_ended(said, status, path, queue.state(job) if job else None), status, path)


def _alive(status: Status, path: Path) -> tuple[str, str | None]:
    """Tell running from stalled, of a run whose process lives."""
    silent_s = age_s(path / "status.json") or 0.0
    if status.step_at and status.heartbeat:  # both by the clock of its machine
        silent_s += status.heartbeat - status.step_at
    if status.state == "running" and silent_s > STALLED_S:
        return "stalled", f"no step for {silent_s / 60:.0f} min"
    return "running", None


def _in_queue(said: str, job: str, queue: SlurmQueue) -> tuple[str, str | None] | None:
    """Tells what a job without a live process waits for; None where it waits for nothing."""
    if not queue.answers:
        silent = {"queued": "queued", "running": "stalled"}.get(said)
        return (silent, "Slurm does not answer") if silent else None
    if not queue.is_live(job):
        return None
    if queue.state(job) not in ("RUNNING", "COMPLETING"):
        return "queued", None
    if said == "running":
        return "stalled", "its job runs, but its process does not beat"
    return None if said == "failed" else ("queued", None)


def _is_claimed(claim: Claim | None, path: Path) -> bool:
    """Tell whether the process that is to run a point still lives."""
    claim = claim or Claim()
    file = Path(claim.pool) if claim.pool else path / "status.json"
    try:
        owner = records.read(Owner, file) if claim.pool else claim.process
    except Unreadable:
        return False
    return owner is not None and is_alive(owner, file)


def _ended(said: str, status: Status, path: Path, slurm: str | None) -> tuple[str, str]:
    """Tells in what way a run ended that is neither finished nor alive."""
    if RunFolder(path).cancelled.exists():
        return "cancelled", "cancelled by `python -m crate.sweep cancel`"
    if said in ("failed", "stopped"):
        return said, status.reason or ""
    if slurm in _ENDED and slurm != "FAILED":
        return _ENDED[slurm]
    if said == "queued":
        return _ended_before_it_began(status, path, slurm)
    if status.sigterm_at:
        return "dead", "told to end (SIGTERM: cancelled, preempted or shut down), and ended"
    return _ENDED["FAILED"]


def _ended_before_it_began(status: Status, path: Path, slurm: str | None) -> tuple[str, str]:
    """Tell how a job ended whose run never began: from Slurm's word, or from the job's own mark."""
    job = status.job
    exit_code = exit_mark(path.parent.parent, job) if job else None
    if slurm is None and exit_code is None:
        return "lost", "neither a job nor a launcher knows of it any more"
    ended = "ended" if slurm is None else f"ended as {slurm}"
    code = f" with exit code {exit_code}" if exit_code else ""
    return "failed", f"its job {ended}{code} before the run began; see its logs"


def exit_mark(outputs: Path, job: str) -> str | None:
    """Return the exit code that a job's script noted; "" if it was killed, None if it never ran.

    See `crate.sweep.launchers.slurm.marks`.
    """
    file = next(outputs.glob(f"sweeps/*/jobs/{job}.exit"), None)
    return None if file is None else file.read_text().strip()
