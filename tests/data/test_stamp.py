"""A stamp detects images that change in place, a change that leaves the signature as it is."""

from __future__ import annotations

import os

import pytest

from crate.config.schema import Digits, Folder
from crate.data import facts
from crate.run.meta import Meta
from crate.tasks import changes


@pytest.fixture
def tree(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "tree" / split / name).mkdir(parents=True)
            (tmp_path / "tree" / split / name / "a.png").write_bytes(b"1234")
    return tmp_path / "tree"


def looked_at(root, **fields):
    """Return the identity and the stamp of a folder as a new process computes them."""
    facts.forget()
    data = Folder(root=str(root), **fields)
    return facts.identity(data), facts.stamp(data)


def test_what_changes_a_stamp(tree):
    identity, stamp = looked_at(tree)
    assert stamp["files"] == 4 and looked_at(tree) == (identity, stamp)
    moved = tree.rename(tree.with_name("moved"))
    assert looked_at(moved) == (identity, stamp)
    file = moved / "val" / "dog" / "a.png"
    state = file.stat()
    file.write_bytes(b"5678")
    os.utime(file, ns=(0, state.st_mtime_ns + 1))
    assert looked_at(moved)[0] == identity and looked_at(moved)[1] != stamp
    os.utime(file, ns=(0, state.st_mtime_ns))
    assert looked_at(moved) == (identity, stamp)
    file.rename(file.with_name("b.png"))
    assert looked_at(moved)[0] == identity and looked_at(moved)[1] != stamp


def test_data_that_its_name_identifies_has_no_stamp(tree):
    assert looked_at(tree, published="imagenet100") == (None, None)
    assert facts.stamp(Digits()) is None


def test_a_run_without_a_stamp_or_with_the_same_one_did_not_change(tree):
    data = Folder(root=str(tree))
    _, stamp = looked_at(tree)
    assert changes.data_changes(Meta(), data) == {}
    assert changes.data_changes(Meta(images=stamp), data) == {}
    result = changes.data_changes(Meta(images=stamp | {"digest": "other"}), data)
    assert result == {"other_data": [f"files in {tree}"]}
