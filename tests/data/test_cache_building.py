"""A cache is built once and used only when it is complete."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from crate.data import transforms
from crate.data.cache import build, choice, files
from crate.data.splits import load_splits
from crate.errors import UserError
from crate.paths import CHECKOUT
from tests.data.folders import caches, config_of, evaluated, same, splits_of, trained

BUILD = """
import logging, sys
sys.path.insert(0, {checkout!r})
from tests.data.folders import config_of, splits_of
logging.basicConfig(level=logging.INFO, format="%(message)s")
from crate.data.cache import build
write = build._write
def counted(*arguments):
    print("BUILDS", flush=True)
    return write(*arguments)
build._write = counted
{more}
data = config_of({root!r}, workers={workers})
splits, where = splits_of(data, {outputs!r})
print("HAS", len(splits["train"]), splits["train"][3][0].sum().item(), flush=True)
"""


def builder(root, outputs, more="", workers=0):
    code = BUILD.format(
        checkout=str(CHECKOUT),
        root=str(root),
        outputs=str(outputs),
        more=more,
        workers=workers,
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


SLOWLY = """
import time
join = build._Chunks.__getitem__
build._Chunks.__getitem__ = lambda chunks, indices: (time.sleep(3), join(chunks, indices))[1]
"""


def one_of_ten(data, outputs, together, answers):
    """Ask for the cache at the same time as the others; answer with the log and the images."""
    messages = []
    logger = logging.getLogger("crate")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: messages.append(record.getMessage())
    join = build._Chunks.__getitem__
    build._Chunks.__getitem__ = lambda chunks, indices: (time.sleep(1), join(chunks, indices))[1]
    together.wait()
    splits, _ = splits_of(data, outputs)
    answers.put((messages, splits["train"][3][0].sum().item()))


def test_ten_processes_that_start_at_once_build_one_cache(photographs, tmp_path):
    context = multiprocessing.get_context("fork")
    together, answers = context.Barrier(10), context.Queue()
    arguments = (config_of(photographs), tmp_path, together, answers)
    started = [context.Process(target=one_of_ten, args=arguments) for _ in range(10)]
    for process in started:
        process.start()
    answered = [answers.get(timeout=120) for _ in started]
    for process in started:
        process.join()
    messages = [" ".join(lines) for lines, _ in answered]
    assert sum(text.count("building the cache") for text in messages) == 2  # two splits, each once
    assert sum("waiting for the cache" in text for text in messages) >= 5
    assert len({value for _, value in answered}) == 1
    assert len(caches(tmp_path / "cache")) == 2
    assert not list(tmp_path.glob("cache/*/.*.tmp"))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_killed_builder_left_is_taken_over(photographs, tmp_path, caplog, workers):
    process = builder(photographs, tmp_path, SLOWLY.replace("3)", "600)"), workers)
    for line in process.stdout:
        if "BUILDS" in line:
            break
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not caches(tmp_path / "cache")
    with caplog.at_level("INFO", "crate"):
        data = config_of(photographs)
        assert len(splits_of(data, tmp_path)[0]["train"]) == 10
    assert "it was not completed" in caplog.text
    assert len(caches(tmp_path / "cache")) == 2
    assert not list(tmp_path.glob("cache/*/.*.tmp"))


def torn(folder):
    with open(folder / files.IMAGES, "r+b") as file:
        file.truncate(1000)


def altered(folder):
    with open(folder / files.IMAGES, "r+b") as file:
        file.seek(5000)
        file.write(b"\0" * 64)


def altered_index(folder):
    index = np.load(folder / files.INDEX)
    index[:, 3] = 1
    np.save(folder / files.INDEX, index)


def of_another_version(folder):
    about = json.loads((folder / files.ABOUT).read_text())
    (folder / files.ABOUT).write_text(json.dumps(about | {"format": 0}))


def without_images(folder):
    (folder / files.IMAGES).unlink()


def without_its_end(folder):
    (folder / files.ABOUT).unlink()


@pytest.mark.parametrize(
    "damage",
    [torn, altered, altered_index, of_another_version, without_images, without_its_end],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_cache_is_replaced_with_a_warning(photographs, tmp_path, caplog, damage):
    data = config_of(photographs)
    expected = evaluated(splits_of(data, tmp_path)[0]["val"], data)
    for folder in caches(tmp_path / "cache"):
        damage(folder)
    with caplog.at_level("WARNING", "crate"):
        answered = evaluated(splits_of(data, tmp_path)[0]["val"], data)
    assert caplog.text.count("is built again") == 2
    assert all(torch.equal(a, b) for a, b in zip(answered, expected, strict=True))


def test_a_cache_of_other_images_is_not_used(photographs, tmp_path, caplog):
    data = config_of(photographs)
    splits_of(data, tmp_path)
    (photographs / "val" / "class1" / "1.jpg").unlink()
    with caplog.at_level("INFO", "crate"):
        splits, _ = splits_of(data, tmp_path)
    assert len(splits["val"]) == 7
    assert "as it was then" in caplog.text
    assert len(caches(tmp_path / "cache")) == 3  # that of train/ is used as it is


def test_a_moved_data_set_and_a_copied_cache_are_used_as_they_are(photographs, tmp_path, caplog):
    data = config_of(photographs)
    expected = trained(splits_of(data, tmp_path)[0]["train"], data)
    data.root = str(photographs.rename(tmp_path / "moved"))
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copyfile)
    data.cache = str(tmp_path / "copy")
    with caplog.at_level("INFO", "crate"):
        splits, where = splits_of(data, tmp_path)
    assert where == str(tmp_path / "copy") and not caplog.text
    assert same(trained(splits["train"], data), expected)


def test_too_little_disk_is_refused_with_numbers(photographs, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9, 10_000)
    monkeypatch.setattr(build.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"takes about .* GB, and its disk has 1e-05 GB free"):
        splits_of(config_of(photographs), tmp_path)
    assert not caches(tmp_path / "cache")


def test_the_estimate_is_near_what_the_cache_takes(photographs, tmp_path):
    data = config_of(photographs)
    splits, _ = splits_of(data, tmp_path)
    images = load_splits(data)["val"]
    source = choice.Source(images, 3, transforms.evaluation_resize(data))
    taken = (splits["val"].folder / files.IMAGES).stat().st_size
    assert build.estimated_bytes(source) == pytest.approx(taken, rel=0.05)
