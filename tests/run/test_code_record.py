"""The code of a run is exactly the files that it imports, the user's own included."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from crate.run import code_record
from crate.run.code_record import changed_files, fingerprint, record
from crate.run.meta import Meta
from crate.tasks import changes
from tests.launching import launch, run_folder

# Names that no other test loads; `cr_other` is the target of another run in this process.
MODULES = {
    "cr_target.py": """
        import json, cr_pack.part
        import importlib
        importlib.import_module("cr_by_" + "name")
        def make():
            from cr_late import value
    """,
    "cr_pack/__init__.py": "",
    "cr_pack/part.py": "from . import sibling",
    "cr_pack/sibling.py": "x = 1",
    "cr_pack/unused.py": "x = 1",
    "cr_by_name.py": "x = 1",
    "cr_late.py": "value = 1",
    "cr_other.py": "import cr_others_helper",
    "cr_others_helper.py": "x = 1",
}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Return a folder of the user's own modules, which is on the import path."""
    for name, text in MODULES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        lines = [line[8:] if line.startswith(" " * 8) else line for line in text.splitlines()]
        file.write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("cr_")]:
        del sys.modules[name]


def names(files: dict[str, str], folder: Path) -> set[str]:
    """Return the recorded files below a folder, relative to it."""
    inside = (Path(name) for name in files if Path(name).is_relative_to(folder))
    return {str(path.relative_to(folder)) for path in inside}


def test_recorded_are_the_imported_files_of_this_run_alone(mine):
    importlib.import_module("cr_other")
    others = record(["cr_other.Model"])
    assert names(others, mine) == {"cr_other.py", "cr_others_helper.py"}
    target = importlib.import_module("cr_target")
    expected = {"cr_target.py", "cr_pack/__init__.py", "cr_pack/part.py", "cr_pack/sibling.py"}
    expected |= {"cr_by_name.py"}
    for _ in range(2):  # a second run of the same target in one process finds them all again
        assert names(record(["cr_target.make"]), mine) == expected
    target.make()
    assert names(record(["cr_target.make"]), mine) == expected | {"cr_late.py"}
    assert names(record(["cr_other.Model"]), mine) == names(others, mine)


def test_the_program_that_launched_a_run_is_no_module_of_the_user(mine, monkeypatch):
    """`multiprocessing` loads it once more, under another name than __main__."""
    program = ModuleType("__mp_main__")
    program.__file__ = str(mine / "cr_late.py")
    importlib.import_module("cr_target")
    monkeypatch.setitem(sys.modules, "__mp_main__", program)
    monkeypatch.setattr(code_record, "_before", code_record._before - {"__mp_main__"})
    assert "cr_late.py" not in names(record(["cr_target.make"]), mine)


def test_the_package_counts_as_far_as_it_is_imported_and_nothing_installed_does():
    for name in (code_record.ENTRY, "crate.train.setup"):
        importlib.import_module(name)
    files = record(["crate.data.digits.Digits"])
    assert "crate/train/optimizers/lion.py" in files, "which the configuration does not name"
    assert {"crate/__init__.py", "crate/tasks/train.py", "crate/run/folder.py"} <= files.keys()
    assert not any(name.startswith(("crate/sweep", "crate/bench", "tests")) for name in files)
    assert not any(Path(name).is_absolute() for name in files)
    assert fingerprint(files) != fingerprint(dict(list(files.items())[1:]))


def test_what_counts_as_changed(mine):
    importlib.import_module("cr_target")
    files = record(["cr_target.make"])
    assert changed_files(files) == []
    (mine / "cr_pack" / "unused.py").write_text("x = 2")
    (mine / "cr_pack" / "part.py").write_text("# a comment\n\nfrom . import sibling  # another\n")
    assert changed_files(files) == []
    (mine / "cr_pack" / "sibling.py").write_text("x = 2")
    (mine / "cr_by_name.py").unlink()
    assert names(dict.fromkeys(changed_files(files), ""), mine) == {
        "cr_by_name.py",
        "cr_pack/sibling.py",
    }
    # What is loaded is recorded, not what an editor has made of the file since.
    assert record(["cr_target.make"]) == files


def test_a_run_of_an_earlier_version_is_other_code_and_one_without_a_record_is_not():
    assert changes.code_changes(Meta(fingerprint="a" * 12)) == {"other_code": [changes.UNKNOWN]}
    assert changes.code_changes(Meta()) == {} == changes.code_changes(Meta(code={}))


def test_a_thousand_runs_are_compared_by_reading_each_file_once(mine, monkeypatch):
    importlib.import_module("cr_target")
    files = record(["cr_target.make", "crate.data.digits.Digits"])
    reads = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    code_record.syntax._read.cache_clear()
    assert not any(changed_files(files) for _ in range(1000))
    assert len(reads) == len(files)


def test_an_edit_of_a_users_own_module_asks_and_a_comment_does_not(tmp_path):
    mine, outputs = tmp_path / "mine", tmp_path / "outputs"
    (mine / "model").mkdir(parents=True)
    (mine / "model" / "flat.yaml").write_text("_target_: flat_model.Flat\n")
    text = (
        "import torch\n\n\nclass Flat(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.head = torch.nn.Linear(256, 10)\n\n"
        "    def forward(self, images):\n        return self.head(images.flatten(1))\n"
    )
    (mine / "flat_model.py").write_text(text)
    words = (f"--config-dir={mine}", "model=flat", "train.epochs=1", "data.workers=0")
    words += ("schedule.warmup_epochs=0", f"outputs={outputs}")
    assert launch(*words).returncode == 0
    code = json.loads((run_folder(outputs) / "meta.json").read_text())["code"]
    assert str(mine / "flat_model.py") in code and "crate/train/loop.py" in code
    (mine / "flat_model.py").write_text(text.replace("class Flat", "# a model\nclass Flat"))
    assert "done already" in launch(*words).stdout
    (mine / "flat_model.py").write_text(text.replace("flatten(1)", "flatten(1) * 2"))
    asked = launch(*words)
    assert asked.returncode == 1 and str(mine / "flat_model.py") in asked.stderr
    assert "other_code=accept or other_code=rerun" in asked.stderr
    swept = launch("-m", *words, "seed=0,0")
    assert swept.returncode == 1 and "trained by other code" in swept.stderr
    assert "done already" in launch(*words, "other_code=accept").stdout
    assert "set aside" in launch(*words, "other_code=rerun").stdout
    assert "done already" in launch(*words).stdout
