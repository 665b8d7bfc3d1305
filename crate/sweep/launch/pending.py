"""The points of a launch with what their runs do, and the decision about each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crate.errors import UserError, raise_all
from crate.run.folder import RunFolder, runs_by_signature
from crate.run.status import Status
from crate.sweep.define.freeze import Point
from crate.sweep.state import RunState, look
from crate.tasks.decision import Verdict, decide, questions

logger = logging.getLogger("crate")


@dataclass(frozen=True)
class Pending:
    """Points by signature; `states` are those of their runs, `aside` the folders to rename.

    A run that is set aside counts as new.
    """

    points: dict[str, Point]
    states: dict[str, RunState]
    aside: list[Path]

    @classmethod
    def of(cls, points: dict[str, Point]) -> Pending:
        """Look at the runs of `points` and decide what happens to each.

        Raise UserError for a run that works and is to be set aside, and for finished runs whose
        code or images changed if the user has yet to decide about them.
        """
        states = look_at(points)
        decisions = {
            key: decide(state.path, state.status, points[key].config)
            for key, state in states.items()
        }
        aside = {
            key: path
            for key, each in decisions.items()
            if each.verdict is Verdict.SET_ASIDE and (path := each.path) is not None
        }
        errors = [
            UserError(
                f"{path.name} is {states[key].state}; it cannot be set aside",
                "its end",
                "python -m crate.sweep cancel NAME",
            )
            for key, path in aside.items()
            if states[key].is_active
        ]
        raise_all(errors + questions(decisions.values()))
        new = RunState("new", None, Status(), None)
        return cls(points, states | dict.fromkeys(aside, new), list(aside.values()))

    @property
    def done(self) -> list[str]:
        """The signatures of the finished points."""
        return [key for key in self.points if self.states[key].state == "finished"]

    @property
    def joined(self) -> list[str]:
        """The signatures of the points that are at work already."""
        return [key for key in self.points if self.states[key].is_active]

    @property
    def todo(self) -> list[str]:
        """The signatures of the points that are to be run."""
        done_or_joined = {*self.done, *self.joined}
        return [key for key in self.points if key not in done_or_joined]

    @property
    def counts(self) -> dict[str, int]:
        """How many points are done, joined and submitted."""
        numbers = {"done": self.done, "joined": self.joined, "submitted": self.todo}
        return {name: len(keys) for name, keys in numbers.items()}

    @property
    def outputs(self) -> str:
        """The folder of outputs that all points share."""
        return next(iter(self.points.values())).config.outputs

    def set_aside(self) -> None:
        """Rename the runs that are to be trained anew."""
        for path in self.aside:
            logger.info("set aside: %s", RunFolder(path).set_aside())


def look_at(points: dict[str, Point]) -> dict[str, RunState]:
    """Return the state of each point's run, by signature."""
    folders = runs_by_signature(next(iter(points.values())).config.outputs)
    return look({key: folders.get(key) for key in points})


def data_roots(points: Iterable[Point]) -> list[Path]:
    """Return the folders of images of points, which are no part of the code."""
    roots = [getattr(point.config.data, "root", None) for point in points]
    return list(dict.fromkeys(Path(root) for root in roots if root))
