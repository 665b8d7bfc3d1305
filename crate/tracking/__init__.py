"""Trackers: where metrics go. A tracker never stops or delays a run."""

from crate.tracking.base import Tracker, Trackers
from crate.tracking.jsonl import Jsonl

__all__ = ["Jsonl", "Tracker", "Trackers"]
