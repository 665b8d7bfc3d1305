"""A cache changes how fast images come and nothing else, however badly its building goes."""

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
from PIL import Image

from crate.config.errors import UserError
from crate.config.schema import FlipCrop
from crate.config.schema import Folder as FolderConfig
from crate.config.target import call
from crate.data import transforms
from crate.data.cache import build, choice, files
from crate.data.cache.choice import with_cache
from crate.data.image import read_image
from crate.data.loader import eval_batches, load_splits, train_batches

SIZES = ((50, 37), (37, 50), (64, 64), (41, 90), (20, 15))  # (width, height), one below cache_px


@pytest.fixture
def photographs(tmp_path):
    """A folder of 2 classes x 5 + 4 images of several shapes, crops of a real photograph."""
    from sklearn.datasets import load_sample_images

    photograph = Image.fromarray(load_sample_images().images[0])
    for split, count in (("train", 10), ("val", 8)):
        for number in range(count):
            place = tmp_path / "photographs" / split / f"class{number % 2}"
            place.mkdir(parents=True, exist_ok=True)
            width, height = SIZES[number % len(SIZES)]
            corner = 30 * number
            crop = photograph.crop((corner, corner, corner + 5 * width, corner + 4 * height))
            crop.resize((width, height)).save(place / f"{number}.jpg", quality=85)
    return tmp_path / "photographs"


def config_of(root, cache="on", cache_px=32, **changes):
    values = dict(img_size=28, in_chans=3, num_classes=2, crop_pct=0.875, root=str(root), workers=0)
    return FolderConfig(**(values | dict(cache=str(cache), cache_px=cache_px) | changes))


def splits_of(data, outputs, decided=None):
    return with_cache(load_splits(data), data, str(outputs), decided)


def evaluated(images, data):
    found = eval_batches(images, transforms.evaluation(data), workers=0, batch_size=3)
    batches = list(found)
    return torch.cat([b for b, _ in batches]), torch.cat([b for _, b in batches])


def trained(images, data, start=0, stop=9, workers=0):
    augment = FlipCrop(_target_="crate.data.transforms.flip_crop")
    transform = transforms.training(data, call(augment, img_size=(28, 28)))
    return list(
        train_batches(
            images, transform, batch_size=4, seed=3, start=start, stop=stop, workers=workers
        )
    )


def same(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(ours, theirs, strict=True)
    )


def caches(place):
    return sorted(path.parent for path in place.glob("*/cache.json"))


@pytest.mark.parametrize("changes", [{}, {"crop_pct": 1.0}, {"in_chans": 1}, {"val_fraction": 0.3}])
def test_evaluation_from_the_cache_is_evaluation_without_it_exactly(photographs, tmp_path, changes):
    # cache_px differs from what evaluation resizes to: that must not reach the evaluated images
    data = config_of(photographs, cache_px=40, **changes)
    cached, where = splits_of(data, tmp_path)
    assert where == str(tmp_path / "cache")
    plain = load_splits(data)
    for name in set(plain) - {"train"}:
        assert isinstance(cached[name], files.Cached)
        for ours, theirs in zip(
            evaluated(cached[name], data), evaluated(plain[name], data), strict=True
        ):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("changes", [{}, {"in_chans": 1}, {"val_fraction": 0.3}])
def test_training_from_the_cache_is_training_on_resized_images(photographs, tmp_path, changes):
    from torchvision.transforms import v2

    class Resized:
        """By hand: PIL reads, torchvision resizes."""

        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            image, label = self.images[index]
            image = image.convert({1: "L", 3: "RGB"}[data.in_chans])
            return v2.functional.resize(v2.functional.pil_to_tensor(image), [32]), label

    data = config_of(photographs, **changes)
    expected = trained(Resized(load_splits(data)["train"]), data)
    cached, _ = splits_of(data, tmp_path)
    assert same(trained(cached["train"], data), expected)
    assert same(trained(cached["train"], data, workers=2), expected)
    data.cache = "off"
    uncached, where = splits_of(data, tmp_path)
    assert where == "off" and same(trained(uncached["train"], data), expected)
    data.cache_px = None
    full, _ = splits_of(data, tmp_path)
    assert not same(trained(full["train"], data), expected)


def test_a_resume_in_mid_epoch_goes_on_in_the_same_order(photographs, tmp_path):
    data = config_of(photographs)
    whole = trained(splits_of(data, tmp_path)[0]["train"], data)
    again = trained(splits_of(data, tmp_path)[0]["train"], data, start=4)
    assert same(again, whole[4:])


BUILD = """
import logging, sys
sys.path.insert(0, {tests!r})
import test_cache
logging.basicConfig(level=logging.INFO, format="%(message)s")
from crate.data.cache import build
write = build._write
def counted(*arguments):
    print("BUILDS", flush=True)
    return write(*arguments)
build._write = counted
{more}
data = test_cache.config_of({root!r}, workers={workers})
splits, where = test_cache.splits_of(data, {outputs!r})
print("HAS", len(splits["train"]), splits["train"][3][0].sum().item(), flush=True)
"""


def builder(root, outputs, more="", workers=0):
    code = BUILD.format(
        tests=os.path.dirname(__file__),
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
slow = build._join
build._join = lambda items: (time.sleep(3), slow(items))[1]
"""


def one_of_ten(data, outputs, together, answers):
    """Asks for the cache at the same time as the others; answers what it said and what it got."""
    said = []
    logger = logging.getLogger("crate")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: said.append(record.getMessage())
    join = build._join
    build._join = lambda items: (time.sleep(1), join(items))[1]
    together.wait()
    splits, _ = splits_of(data, outputs)
    answers.put((said, splits["train"][3][0].sum().item()))


def test_ten_processes_that_start_at_once_build_one_cache(photographs, tmp_path):
    context = multiprocessing.get_context("fork")
    together, answers = context.Barrier(10), context.Queue()
    arguments = (config_of(photographs), tmp_path, together, answers)
    started = [context.Process(target=one_of_ten, args=arguments) for _ in range(10)]
    for process in started:
        process.start()
    found = [answers.get(timeout=120) for _ in started]
    for process in started:
        process.join()
    said = [" ".join(lines) for lines, _ in found]
    assert sum(text.count("building the cache") for text in said) == 2  # two splits, each once
    assert sum("waiting for the cache" in text for text in said) >= 5
    assert len({value for _, value in found}) == 1
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
    assert "cut off" in caplog.text
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
def test_a_damaged_cache_is_refused_aloud_and_built_anew(photographs, tmp_path, caplog, damage):
    data = config_of(photographs)
    expected = evaluated(splits_of(data, tmp_path)[0]["val"], data)
    for folder in caches(tmp_path / "cache"):
        damage(folder)
    with caplog.at_level("WARNING", "crate"):
        found = evaluated(splits_of(data, tmp_path)[0]["val"], data)
    assert caplog.text.count("is refused and built anew") == 2
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


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


def test_auto_caches_what_is_asked_for_many_and_fits(photographs, tmp_path, monkeypatch, caplog):
    data = config_of(photographs, cache="auto", cache_px=None)
    assert splits_of(data, tmp_path)[1] == "off"  # full-size images are asked for
    data.cache_px = 32
    assert splits_of(data, tmp_path)[1] == "off"  # few images
    monkeypatch.setattr(choice, "FEW", 10)
    assert splits_of(data, tmp_path, decided="off")[1] == "off"  # as when the run first started
    monkeypatch.setattr(choice, "free_bytes", lambda place: 30_000)
    with caplog.at_level("INFO", "crate"):
        assert splits_of(data, tmp_path)[1] == "off"
    assert "no cache: it would take" in caplog.text
    monkeypatch.setattr(choice, "free_bytes", lambda place: 10**9)
    assert splits_of(data, tmp_path)[1] == str(tmp_path / "cache")


def test_corrupt_images_are_refused_or_left_out_as_without_the_cache(photographs, tmp_path):
    bad = photographs / "train" / "class0" / "4.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(UserError, match=f"{bad.name} cannot be read as an image"):
        splits_of(config_of(photographs, workers=2), tmp_path)
    data = config_of(photographs, on_corrupt="skip")
    cached = splits_of(data, tmp_path)[0]["train"]
    assert len(cached) == 9
    assert any("1 unreadable left out" in note for note in cached.notes)
    data.cache = "off"
    plain = splits_of(data, tmp_path)[0]["train"]
    assert same(trained(cached, data), trained(plain, data))


def test_a_cache_asked_for_data_without_files_is_refused(composed):
    from crate.run import prepare

    with pytest.raises(UserError, match="names no files"):
        prepare(composed("data=digits", "data.cache=on"))


def test_what_is_typed_becomes_a_folder_and_a_size(composed, photographs):
    from crate.config.check import CHECKOUT
    from crate.run import prepare, signature_of

    def ask(*overrides):
        return prepare(composed("data=imagefolder", f"data.root={photographs}", *overrides))

    assert (ask().data.cache, ask().data.cache_px) == ("auto", None)
    assert ask("data.cache=on").data.cache_px == 256
    assert ask("data.cache=some/where").data.cache == str(CHECKOUT / "some/where")
    of = {value: signature_of(ask(f"data.cache={value}")) for value in ("auto", "off", "on", "/x")}
    assert of["auto"] == of["off"] == signature_of(ask())
    assert of["on"] == of["/x"] == signature_of(ask("data.cache_px=256")) != of["auto"]


def test_the_memory_of_a_reader_does_not_grow_with_what_it_has_read(tmp_path):
    count, side = 1_000, 256  # 200 MB
    index = np.zeros((count, 5), np.int64)
    index[:, 0] = np.arange(count) * side * side * 3
    index[:, 1:3] = side
    np.save(tmp_path / files.INDEX, index)
    with open(tmp_path / files.IMAGES, "wb") as file:
        file.truncate(count * side * side * 3)
    cached = files.Cached(tmp_path, 3)

    def resident_mb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    for number in range(300):
        cached[number][0].sum()
    before = resident_mb()
    for number in range(count):
        cached[number][0].sum()
    assert resident_mb() - before < 40


def test_an_augmentation_in_place_changes_nothing_for_the_next_epoch(photographs, tmp_path):
    data = config_of(photographs)
    images = splits_of(data, tmp_path)[0]["train"]
    before = images[0][0].clone()
    transforms.training(data, lambda image: image.zero_())(images[0][0])
    assert torch.equal(images[0][0], before)


def encoded(image, **options):
    return lambda path: image().save(path, "JPEG", **options)


def picture(mode="RGB", size=(67, 45)):
    from sklearn.datasets import load_sample_images

    return Image.fromarray(load_sample_images().images[1]).resize(size).convert(mode)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(path, "JPEG", exif=exif)


def upright_with_exif(path):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    picture().save(path, "JPEG", exif=exif)


KINDS = {
    "4:2:0": encoded(picture, subsampling=2),
    "4:2:2": encoded(picture, subsampling=1),
    "4:4:4": encoded(picture, subsampling=0),
    "progressive": encoded(picture, progressive=True),
    "grey": encoded(lambda: picture("L")),
    "cmyk": encoded(lambda: picture("CMYK")),
    "one pixel": encoded(lambda: picture(size=(1, 1))),
    "turned": turned,
    "upright": upright_with_exif,
    "png": lambda path: picture().save(path, "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_decoder_reads_what_pil_reads_bit_for_bit(tmp_path, kind):
    from crate.data.image import read_pixels

    KINDS[kind](tmp_path / "image.jpg")
    assert np.array_equal(read_pixels(tmp_path / "image.jpg"), read_image(tmp_path / "image.jpg"))


@pytest.mark.parametrize("end", [2, 100, 400])
def test_the_fast_decoder_refuses_what_pil_refuses(tmp_path, end):
    from crate.data.image import read_pixels

    path = tmp_path / "image.jpg"
    KINDS["4:2:0"](path)
    path.write_bytes(path.read_bytes()[:-end])
    said = []
    for read in (read_image, read_pixels):
        try:
            said.append(np.asarray(read(path)).tobytes())
        except UserError as error:
            said.append(str(error))
    assert said[0] == said[1]
