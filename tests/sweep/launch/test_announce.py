"""The messages of a launch before its runs begin."""

from __future__ import annotations

from crate.sweep.launch.announce import warn_of_best


def test_finished_runs_without_their_best_weights_are_named(tmp_path, caplog):
    whole, without = tmp_path / "whole", tmp_path / "without"
    for path in (whole, without):
        (path / "checkpoints").mkdir(parents=True)
    (whole / "checkpoints" / "best.pt").touch()
    warn_of_best([whole])
    assert not caplog.messages
    warn_of_best([whole, without])
    (message,) = caplog.messages
    assert "1 finished run(s)" in message and "without;" in message and "rerun=true" in message
