"""The manifest of a sweep: its question, its launches, its points and their jobs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from crate.run.claim import HandedOver
from crate.run.records import Record
from crate.run.secrets import redact
from crate.sweep.define.swept import Values

if TYPE_CHECKING:
    from crate.sweep.define.freeze import Point
    from crate.sweep.options import LauncherOptions


@dataclass(kw_only=True)
class Attempt(HandedOver):
    """A time (seconds since 1970) at which a point was handed over to a job."""

    time: float | None = None


@dataclass(kw_only=True)
class SweepPoint(Record):
    """A point of a sweep; `swept` are its values of the keys that vary, by key."""

    overrides: list[str]
    swept: Values
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(kw_only=True)
class LaunchEntry(Record):
    """A launch of a sweep: when, how, by which code, and how many runs it began."""

    time: float
    launcher: str
    options: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    fingerprint: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    code: str | None = None
    outside: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, launcher: str, options: LauncherOptions, **counts: int) -> LaunchEntry:
        """Return the entry of a launch that begins now, by the launcher of that name."""
        return cls(
            time=time.time(),
            launcher=launcher,
            options=asdict(options),
            command=redact(sys.argv),
            counts=counts,
        )


@dataclass(kw_only=True)
class Statement(Record):
    """The fields of a sweep's file that its manifest keeps."""

    question: str | None = None
    grid: Values | None = None
    zip: Values | None = None
    seeds: list[int] | None = None
    baseline: Values | None = None
    metric: str | None = None
    published: list[Values] | None = None
    source: str | None = None


@dataclass(kw_only=True)
class Manifest(Statement):
    """The manifest of a sweep: `points` by signature, `launches` from first to last."""

    version: int = 1
    name: str
    fixed: list[str]
    launches: list[LaunchEntry] = field(default_factory=list)
    points: dict[str, SweepPoint]

    def with_points(self, stated: Mapping[str, Any], points: dict[str, Point]) -> Manifest:
        """Return the manifest with `points` added, and with the present fields of the sweep's file.

        `stated` are all fields of the file, none for a sweep without one.
        """
        known = dict(self.points)
        for key, point in points.items():
            attempts = known[key].attempts if key in known else []
            known[key] = SweepPoint(
                overrides=redact(point.overrides),
                swept=redact(point.swept),
                attempts=list(attempts),
            )
        fields = {
            name: redact(stated[name]) for name in Statement.__annotations__ if name in stated
        }
        return replace(self, **fields, points=known, launches=list(self.launches))
