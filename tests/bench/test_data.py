"""`python -m crate.bench data` measures each way on the same files, and prints JSON on request."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from crate.bench.interleaved import rates, summary
from crate.paths import CHECKOUT


def test_ways_take_turns_and_are_compared_round_by_round(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("crate.bench.interleaved.time.process_time", lambda: clock[0])

    def way(name, seconds):
        def work(amount):
            calls.append((name, amount))
            clock[0] += seconds * amount
            return 10 * amount

        return work

    per_way = rates({"slow": way("slow", 4.0), "fast": way("fast", 1.0)}, 3, rounds=2)
    assert calls == [("slow", 1), ("slow", 3), ("fast", 1), ("fast", 3)] * 3
    assert per_way == {"slow": [2.5, 2.5], "fast": [10.0, 10.0]}
    assert summary(per_way, "slow")["fast"]["ratio"] == 4


def test_the_cache_is_faster_than_the_authors_way_and_shared():
    small = "--images 70 --rounds 3 --batches 1 --processes 3 --json".split()
    done = subprocess.run(
        [sys.executable, "-m", "crate.bench", "data", *small],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    ratios = {name: row["ratio"] for name, row in values["images_per_core_s"].items()}
    assert ratios["ImageFolder + PIL (the authors')"] == pytest.approx(1)
    for name in ("ours, cached", "ours, cached, for a GPU"):
        assert ratios[name] > 3  # about 9 and 20; a busy machine may spoil a round
    memory = values["memory"]
    assert memory["cache_mb"] > 10
    # all that they looked at counts once; each alone would have it three times
    assert memory["pss_after_mb"] - memory["pss_before_mb"] < 2 * memory["cache_mb"]
