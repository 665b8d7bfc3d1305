"""What changed since a run was trained: the files of its code, or those of its images.

Imports no torch.
"""

from __future__ import annotations

from typing import Literal

from crate.config.schema import Data
from crate.data import facts
from crate.run import code_record
from crate.run.meta import Meta

Key = Literal["other_code", "other_data"]  # the configuration key that answers a kind of change
Changes = dict[Key, list[str]]  # names of what changed, by kind; {} if nothing did

UNKNOWN = "an earlier version trained it, which did not record its files"


def changes(meta: Meta, data: Data) -> Changes:
    """Return what differs between the code and images in a run's `meta` and those of now."""
    return code_changes(meta) | data_changes(meta, data)


def code_changes(meta: Meta) -> Changes:
    """Return {"other_code": changed files} if a run's code is not what it was."""
    if meta.code is None:  # an earlier version stored only a hash of the whole package
        return {"other_code": [UNKNOWN]} if meta.fingerprint else {}
    changed = code_record.changed_files(meta.code)
    return {"other_code": changed} if changed else {}


def data_changes(meta: Meta, data: Data) -> Changes:
    """Return {"other_data": [the folder]} if the images of a run are not what they were."""
    now = facts.stamp(data)
    if not meta.images or not now or meta.images == now:
        return {}
    return {"other_data": [f"files in {getattr(data, 'root', data._target_)}"]}
