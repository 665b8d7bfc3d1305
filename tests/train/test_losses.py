"""Damaged or deleted files of a run are rebuilt or named in a message."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch

from crate.paths import CHECKOUT
from tests.launching import launch, metrics, run_folder, status

FADING = '''
import torch


class Fading(torch.nn.Linear):
    """Knows nothing any more after eight steps: its best evaluation is not its last."""

    def __init__(self):
        super().__init__(256, 10)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, images):
        self.steps += self.training
        return super().forward(images.flatten(1)) * (1 if self.training or self.steps < 8 else 0)
'''


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the outputs and command of a run of two epochs of five steps; the first was best."""
    folder = tmp_path_factory.mktemp("losses")
    (folder / "mine" / "model").mkdir(parents=True)
    (folder / "mine" / "fading.py").write_text(FADING)
    (folder / "mine" / "model" / "fading.yaml").write_text("_target_: fading.Fading\n")
    words = (f"--config-dir={folder / 'mine'}", "model=fading", "train.epochs=2", "train.ema=0.5")
    words += ("train.batch_size=256", "data.val_fraction=0.2", "schedule.warmup_epochs=0")
    words += ("data.workers=0", "train.checkpoint_every_steps=5", "train.log_every_steps=1")
    done = launch(*words, f"outputs={folder / 'outputs'}")
    assert done.returncode == 0, done
    ended = status(run_folder(folder / "outputs"))
    assert (ended["best_step"], ended["step"], ended["best_is_lost"]) == (5, 10, False)
    assert ended["test"]["test/best_top1"] > ended["test"]["test/top1"]
    return folder / "outputs", words


@pytest.fixture
def copied(finished, tmp_path):
    """Return the folder and the command of a copy whose run is not marked finished yet."""
    outputs = shutil.copytree(finished[0], tmp_path / "outputs")
    folder = run_folder(outputs)
    undone = status(folder) | {"state": "running"}
    (folder / "status.json").write_text(json.dumps(undone))
    return folder, (*finished[1], f"outputs={outputs}")


def damage(folder, how):
    best, rows = folder / "checkpoints" / "best.pt", folder / "metrics.jsonl"
    if how == "deleted":
        best.unlink()
        rows.unlink()
    else:
        best.write_bytes(best.read_bytes()[:-100])
        rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:3]))


@pytest.mark.parametrize("how", ["deleted", "cut"])
def test_a_resumed_run_rebuilds_its_rows_and_its_best_weights_and_logs_it(finished, copied, how):
    folder, words = copied
    damage(folder, how)
    done = launch(*words)
    assert done.returncode == 0 and "rebuilt from step-00000005.pt" in done.stdout, done
    assert "metrics.jsonl was cut, changed or removed: rebuilt 13 rows" in done.stdout
    whole = run_folder(finished[0])
    assert (folder / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    ours, theirs = (
        torch.load(each / "checkpoints" / "best.pt", weights_only=True) for each in (folder, whole)
    )
    assert ours.keys() == theirs.keys() and ours["metrics"] == theirs["metrics"]
    for part in ("model", "ema"):
        assert ours[part].keys() == theirs[part].keys()
        assert all(torch.equal(ours[part][name], each) for name, each in theirs[part].items())
    assert status(folder)["best_is_lost"] is False


def test_a_run_finishes_without_its_best_weights_and_reports_them_missing(copied):
    folder, words = copied
    (folder / "checkpoints" / "best.pt").unlink()
    (folder / "checkpoints" / "step-00000005.pt").unlink()
    done = launch(*words)
    assert done.returncode == 0 and "no other checkpoint has the best weights" in done.stdout, done
    assert status(folder)["state"] == "finished" and status(folder)["best_is_lost"] is True
    again = launch(*words)
    assert (
        again.returncode == 0 and "best.pt is missing; train anew with rerun=true" in again.stdout
    )


def test_rows_that_are_deleted_during_a_run_are_restored(finished, tmp_path):
    (tmp_path / "cutting.py").write_text(
        "from pathlib import Path\n"
        "import fading\n"
        "class Cutting(fading.Fading):\n"
        "    def forward(self, images):\n"
        "        for file in Path(__file__).parent.glob('out/runs/*/metrics.jsonl'):\n"
        "            file.unlink() if self.steps == 3 else None\n"
        "        return super().forward(images)\n"
    )
    words = [word for word in finished[1] if not word.startswith(("--config", "model="))]
    mine = finished[0].parent / "mine"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "cutting.yaml").write_text("_target_: cutting.Cutting\n")
    shutil.copy(mine / "fading.py", tmp_path)
    done = launch(f"--config-dir={tmp_path}", "model=cutting", *words, f"outputs={tmp_path}/out")
    assert done.returncode == 0 and "rebuilt 13 rows up to step 10" in done.stdout, done
    assert metrics(run_folder(tmp_path / "out")) == metrics(run_folder(finished[0]))


def test_a_finished_run_names_a_damaged_best_without_importing_torch(finished, tmp_path):
    outputs = shutil.copytree(finished[0], tmp_path / "outputs")
    file = run_folder(outputs) / "checkpoints" / "best.pt"
    content = bytearray(file.read_bytes())
    content[content.index(b"data/0") + 2000] ^= 1
    file.write_bytes(content)
    (run_folder(outputs) / "metrics.jsonl").unlink()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from crate.run import console, folder\nfrom crate.tasks import bookkeeping\n"
        "console.say_on_console(True)\n"
        "bookkeeping.warn_of_losses(folder.RunFolder(Path(sys.argv[1])))\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(run_folder(outputs))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0 and "best.pt is corrupt: the checksum of" in done.stdout, done
    assert "metrics.jsonl is gone" in done.stdout
    assert f"the same weights are in {file.with_name('step-00000005.pt')}" in done.stdout
