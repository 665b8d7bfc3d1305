"""A launch records the files outside the checkout that its targets import; a job compares them."""

from __future__ import annotations

import importlib
import logging
import sys

from crate.config.schema import Config, Model
from crate.sweep.code.modules import Modules


def test_every_outside_file_of_a_target_is_watched(tmp_path, monkeypatch, caplog):
    (tmp_path / "watched_model.py").write_text("from watched_helper import make\n")
    (tmp_path / "watched_helper.py").write_text("def make():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["launch.py", "--config-dir", str(tmp_path)])
    importlib.import_module("watched_model")
    with caplog.at_level(logging.WARNING, "crate"):
        modules = Modules.of([Config(model=Model(_target_="watched_model.make"))])
        files = [str(tmp_path / f"watched_{name}.py") for name in ("helper", "model")]
        assert list(modules.outside) == files and modules.paths == [str(tmp_path)]
        assert all(file in caplog.text for file in files)
        caplog.clear()
        (tmp_path / "watched_model.py").write_text("# a comment\nfrom watched_helper import make\n")
        modules.find()
        assert caplog.text == ""
        (tmp_path / "watched_helper.py").write_text("def make():\n    return 2\n")
        modules.find()
        assert f"changed since the launch: {files[0]}" in caplog.text
