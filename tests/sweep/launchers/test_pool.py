"""The pool gives back the points that it cannot run."""

from __future__ import annotations

import pytest

from crate.errors import UserError
from crate.run.claim import Claim
from crate.run.folder import RunFolder
from crate.sweep.launchers.pool import Pool
from crate.sweep.launchers.slot import Slot
from crate.sweep.stored.folder import SweepFolder


def test_a_pool_whose_worker_cannot_start_gives_every_point_back(tmp_path):
    sweep = SweepFolder.create(str(tmp_path), "gone", [])
    folders = {key: RunFolder.create(str(tmp_path), "run", key) for key in ("a" * 12, "b" * 12)}
    for folder in folders.values():
        folder.queue(Claim(pool=str(tmp_path / "pool.json")))
    pool = Pool(
        tmp_path, [Slot(sweep, {})], dict.fromkeys(folders, tmp_path / "code"), lambda: None
    )
    with pytest.raises(UserError, match="cannot start a worker in .*code"):
        pool.run()
    assert {folder.status.state for folder in folders.values()} == {"stopped"}
