"""task=evaluate reads the cache that training made, and its metrics do not change with that."""

from __future__ import annotations

from itertools import product

import pytest
from PIL import Image

from tests.launching import TINY, launch, run_folder

MODEL = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "precision=fp32", "device=cpu")
DATA = ("data=imagefolder", "data.img_size=32", "data.cache=on", "data.workers=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains on crops of two photographs, through a cache; returns the tree and the outputs."""
    from sklearn.datasets import load_sample_images

    place = tmp_path_factory.mktemp("trained")
    tree, outputs = place / "tree", place / "outputs"
    for number, photograph in enumerate(map(Image.fromarray, load_sample_images().images)):
        for split, left in product(("train", "val"), range(0, 500, 100)):
            folder = tree / split / f"photograph{number}"
            folder.mkdir(parents=True, exist_ok=True)
            crop = photograph.crop((left, left // 2, left + 70, left // 2 + 60))
            crop.save(folder / f"{left}.jpg")
    done = launch(*MODEL, *DATA, f"data.root={tree}", f"outputs={outputs}")
    assert done.returncode == 0, done.stderr
    return tree, outputs


def evaluated(outputs, *overrides):
    """Returns the line of metrics that task=evaluate prints, and all that it says."""
    best = run_folder(outputs) / "checkpoints" / "best.pt"
    done = launch("task=evaluate", f"checkpoint={best}", *overrides)
    assert done.returncode == 0, done.stderr
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("val/loss")]
    return line, done.stdout


def test_metrics_out_of_the_cache_are_those_of_the_files_whose_content_is_not_read(trained):
    tree, outputs = trained
    plain, said = evaluated(outputs, "data.cache=off")
    assert "out of the cache" not in said
    files = {path: path.read_bytes() for path in tree.glob("val/*/*")}
    for path, content in files.items():
        path.write_bytes(bytes(len(content)))  # of the same size: the same cache, and no images
    try:
        cached, said = evaluated(outputs)
        assert cached == plain
        assert f"images out of the cache {outputs / 'cache'}" in said
        best = run_folder(outputs) / "checkpoints" / "best.pt"
        done = launch("task=evaluate", f"checkpoint={best}", "data.cache=off")
        assert done.returncode == 1 and "cannot be read as an image" in done.stderr
    finally:
        for path, content in files.items():
            path.write_bytes(content)


def test_another_resolution_and_a_torn_cache_are_read_from_the_files(trained):
    _, outputs = trained
    plain, said = evaluated(outputs, "data.cache=off", "data.img_size=24")
    assert evaluated(outputs, "data.img_size=24")[0] == plain
    assert "out of the cache" not in said
    before = sorted(outputs.glob("cache/*"))
    plain, _ = evaluated(outputs, "data.cache=off")
    for file in outputs.glob("cache/*/images.u8"):
        with open(file, "r+b") as images:
            images.truncate(1000)
    line, said = evaluated(outputs)
    assert line == plain and "is refused: images.u8 holds 1,000 of" in said
    assert sorted(outputs.glob("cache/*")) == before  # evaluation builds none
