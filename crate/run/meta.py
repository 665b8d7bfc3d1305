"""The record in `meta.json`: a run's code, versions and machine, and its `auto` values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crate.run.records import Record


@dataclass(kw_only=True)
class Meta(Record):
    """The origin of a run; the values that only people read are among the `unknown` keys.

    `code` holds the digests of the imported files, `fingerprint` the hash of them all, `images` the
    stamp of a user's own image files.
    """

    version: int = 1
    fingerprint: str | None = None
    code: dict[str, str] | None = None
    images: dict[str, Any] | None = None
    auto: dict[str, Any] = field(default_factory=dict)
