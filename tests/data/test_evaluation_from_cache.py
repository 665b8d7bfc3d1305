"""task=evaluate reads the cache that training made, and gives the same metrics as without it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import product

import pytest
from PIL import Image

from tests.launching import TINY, launch, run_folder

MODEL = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "precision=fp32", "device=cpu")
DATA = ("data=imagefolder", "data.img_size=32", "data.cache=on", "data.workers=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train on crops of two photographs, through a cache; return the tree and the outputs."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("trained")
    tree, outputs = folder / "tree", folder / "outputs"
    for number, photograph in enumerate(map(Image.fromarray, load_sample_images().images)):
        for split, left in product(("train", "val"), range(0, 500, 100)):
            folder = tree / split / f"photograph{number}"
            folder.mkdir(parents=True, exist_ok=True)
            crop = photograph.crop((left, left // 2, left + 70, left // 2 + 60))
            crop.save(folder / f"{left}.jpg")
    done = launch(*MODEL, *DATA, f"data.root={tree}", f"outputs={outputs}")
    assert done.returncode == 0, done.stderr
    return tree, outputs


@contextmanager
def zeroed(tree, *, keep_times: bool):
    """Overwrite the images of evaluation by zeros, at the same size; restore them at the end."""
    files = {path: (path.read_bytes(), path.stat()) for path in tree.glob("val/*/*")}

    def put_time(path, state):
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    for path, (content, state) in files.items():
        path.write_bytes(bytes(len(content)))
        if keep_times:
            put_time(path, state)
    try:
        yield
    finally:
        for path, (content, state) in files.items():
            path.write_bytes(content)
            put_time(path, state)


def evaluated(outputs, *overrides):
    """Return the line of metrics that task=evaluate prints, and its whole output."""
    best = run_folder(outputs) / "checkpoints" / "best.pt"
    done = launch("task=evaluate", f"checkpoint={best}", *overrides)
    assert done.returncode == 0, done.stderr
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("val/loss")]
    return line, done.stdout


def test_metrics_out_of_the_cache_are_those_of_the_files_whose_content_is_not_read(trained):
    tree, outputs = trained
    plain, log = evaluated(outputs, "data.cache=off")
    assert "from the cache" not in log
    best = run_folder(outputs) / "checkpoints" / "best.pt"
    with zeroed(tree, keep_times=True):  # the same cache, and no images
        cached, log = evaluated(outputs)
        assert cached == plain
        assert f"reading images from the cache {outputs / 'cache'}" in log
    with zeroed(tree, keep_times=False):  # the cache is not of these files any more
        done = launch("task=evaluate", f"checkpoint={best}")
        assert done.returncode == 1 and "cannot be read as an image" in done.stderr


def test_a_finished_run_asks_where_its_images_changed_in_place(trained):
    tree, outputs = trained
    words = (*MODEL, *DATA, f"data.root={tree}", f"outputs={outputs}")
    assert "done already" in launch(*words).stdout
    with zeroed(tree, keep_times=False):
        asked = launch(*words)
        assert asked.returncode == 1 and f"changed since: files in {tree}" in asked.stderr
        assert "other_data=accept or other_data=rerun" in asked.stderr
        assert "done already" in launch(*words, "other_data=accept").stdout
        swept = launch("-m", *words)
        assert swept.returncode == 1 and "other_data=accept or" in swept.stderr
    assert "done already" in launch(*words).stdout


def test_another_resolution_and_a_torn_cache_are_read_from_the_files(trained):
    _, outputs = trained
    plain, log = evaluated(outputs, "data.cache=off", "data.img_size=24")
    assert evaluated(outputs, "data.img_size=24")[0] == plain
    assert "from the cache" not in log
    before = sorted(outputs.glob("cache/*"))
    plain, _ = evaluated(outputs, "data.cache=off")
    for file in outputs.glob("cache/*/images.u8"):
        with open(file, "r+b") as images:
            images.truncate(1000)
    line, log = evaluated(outputs)
    assert line == plain and "is not used: images.u8 holds 1,000 of" in log
    assert sorted(outputs.glob("cache/*")) == before  # evaluation builds none
