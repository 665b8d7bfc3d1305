"""Trackers: where metrics go. A tracker never stops a run, and never makes it wait."""

from crate.tracking.base import Tracker, Trackers
from crate.tracking.jsonl import Jsonl

__all__ = ["Jsonl", "Tracker", "Trackers"]
