"""What a launcher is: the only interface through which everything else uses one.

To add a launcher: a module here with a subclass of `Launcher`, a row in LAUNCHERS, and a file
conf/hydra/launcher/NAME.yaml. A job runs one point:

    python -m crate.sweep.job SWEEP_FOLDER SIGNATURE    # from the folder of its code snapshot

with CRATE_LAUNCHER (the launcher's name) and CRATE_JOB (its name for the job) in the environment.
Its output belongs into the sweep's `jobs/`, in files named <job>_*_log.*, where `logs` finds it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from crate.sweep.launchers.heartbeat import new_file
from crate.sweep.options import EVERYWHERE, LauncherOptions

if TYPE_CHECKING:
    from crate.config.schema import Config
    from crate.sweep.stored.folder import SweepFolder

Options = TypeVar("Options", bound=LauncherOptions, covariant=True)


class Phase(Enum):
    """Where a job is, as far as its launcher knows."""

    WAITING = "it waits to begin, or to begin again"
    RESERVED = "it begins the run unless that has begun, and never begins it again"
    WORKING = "its processes live"
    ENDED = "it has ended"
    UNKNOWN = "the launcher does not know it any more"
    SILENT = "the launcher does not answer, so nothing is known"


@dataclass(frozen=True)
class JobState:
    """What a launcher knows of a job.

    Of an ended one, `word` is what the launcher calls its end. `end` is the state and the reason
    of a run that left none itself, or None if the launcher does not know why the job ended.
    `silence` says why nothing is known.
    """

    phase: Phase
    word: str | None = None
    end: tuple[str, str] | None = None
    silence: str | None = None


class Watcher(Protocol):
    """What follows the runs of a launch for the user."""

    def __enter__(self) -> Watcher: ...

    def __exit__(self, *exception: object) -> None: ...

    def update(self) -> None:
        """Print a line for each run that has ended since the last call."""

    def follow(self) -> None:
        """Return once all runs have ended."""

    def say_stopped(self) -> None:
        """Print how far a launch came that was stopped."""


@dataclass
class Request:
    """What a launcher is asked to do: run `todo`, and report on all of `swept`.

    `swept` are the swept values of each run by signature, `todo` the code snapshots of the runs to
    begin. `pool` is the heartbeat file of a launcher that `runs_here`.
    """

    sweep: SweepFolder
    swept: dict[str, dict[str, Any]]
    todo: dict[str, Path]
    on_cpu: bool
    pool: Path = field(default_factory=Path)  # a new file of the sweep unless it is given

    def __post_init__(self) -> None:
        if self.pool == Path():
            self.pool = new_file(self.sweep.path)


class Launcher(ABC, Generic[Options]):
    """Runs frozen points; constructed with the options of one launch.

    What concerns the jobs of any launch are class methods.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[LauncherOptions]]
    own_options: ClassVar[tuple[type, ...]] = ()  # of the options of all launchers, those it reads
    runs_here: ClassVar[bool] = False  # whether the launching process runs the jobs, in `run`
    devices_key: ClassVar[str | None] = None  # the option to set for jobs of several devices

    def __init__(self, options: Options) -> None:
        self.options = options

    def check(self, configs: Iterable[Config]) -> None:
        """Raise UserError if runs with these configurations cannot be launched from here."""

    @property
    def devices(self) -> int:
        """The devices of a job: the ranks that it starts."""
        return 1

    @property
    def time_limit_h(self) -> float | None:
        """The hours after which a job ends, or None without a limit."""
        return None

    @abstractmethod
    def submit(self, request: Request) -> Iterator[dict[str, str]]:
        """Submit `request.todo`; yield the names of jobs by signature, as soon as they exist.

        Raise UserError with the reason if the jobs are refused.
        """

    def run(self, request: Request, watcher: Watcher) -> None:
        """Run `request.todo` and wait for all of `watcher`; only for a launcher that `runs_here`.

        Renew `request.pool` meanwhile. Exit with a signal's code if one stops the runs.
        """
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def states(cls, jobs: Iterable[str]) -> dict[str, JobState]:
        """Return what is known of each job; ask about all of them at once."""

    @classmethod
    @abstractmethod
    def cancel(cls, jobs: Mapping[Path, str]) -> None:
        """Have runs save and end: the names of their jobs, by run folder.

        Jobs that have not begun are removed. Raise UserError if that is refused.
        """

    @classmethod
    def describe(cls, jobs: Iterable[str]) -> str:
        """Return jobs in words, such as `Slurm job 7, 8`; an empty text if they need no mention."""
        return f"{cls.name} job {', '.join(dict.fromkeys(jobs))}"

    def ignored(self, typed: Iterable[str]) -> list[str]:
        """Return the names of the options that are given, and have no meaning for this launcher.

        `typed` are the overrides of the command line, which count even if they repeat a default.
        """
        options = self.options
        own = {
            entry.name for kind in (*self.own_options, LauncherOptions) for entry in fields(kind)
        }
        names = {text.lstrip("+").partition("=")[0] for text in typed}
        defaults = type(options)()
        return [
            entry.name
            for entry in fields(options)
            if entry.name not in own | EVERYWHERE
            and (
                f"hydra.launcher.{entry.name}" in names
                or getattr(options, entry.name) != getattr(defaults, entry.name)
            )
        ]


AnyLauncher = Launcher[LauncherOptions]
