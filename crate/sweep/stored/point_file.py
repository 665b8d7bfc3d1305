"""A frozen point, `points/<signature>.json`: all that a job needs in order to run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crate.run.records import Record
from crate.sweep.define.swept import Values
from crate.sweep.stored.manifest import LaunchEntry, Statement


@dataclass(kw_only=True)
class PointFile(Record):
    """A point of a sweep as it was launched.

    `folder` is the current folder of the launch, and `modules` tells where the user's own targets
    are found. `fixed` and `launch` are those of the sweep; `inputs` and `digest` are the seal (see
    crate/sweep/define/seal.py). Earlier versions stored neither.
    """

    version: int = 1
    signature: str
    label: str
    overrides: list[str]
    swept: Values
    config: dict[str, Any]
    folder: str
    modules: dict[str, Any] = field(default_factory=dict)
    fixed: list[str] | None = None
    launch: LaunchEntry | None = None
    inputs: dict[str, str | None] | None = None
    digest: str | None = None

    def check(self) -> None:
        """Raise ValueError if the configuration lacks a key that a launcher reads."""
        for key, kind in (("outputs", str), ("device", str), ("data", dict)):
            if not isinstance(self.config.get(key), kind):
                raise ValueError(f"config.{key} is missing or of another kind")
        Statement.from_json(self.statement, "config.sweep")

    @property
    def data_root(self) -> str | None:
        """The folder of the images, if they lie in one."""
        return self.config["data"].get("root")

    @property
    def statement(self) -> dict[str, Any]:
        """The fields of the sweep's file; {} for a sweep without a file."""
        stated = self.config.get("sweep")
        stated = stated if isinstance(stated, dict) else {}
        return {key: stated[key] for key in Statement.__annotations__ if key in stated}

    @property
    def sweep_name(self) -> str | None:
        """The sweep's name: typed, or that of its file."""
        stated = self.config.get("sweep")
        name = self.config.get("name") or (isinstance(stated, dict) and stated.get("name"))
        return name or None
