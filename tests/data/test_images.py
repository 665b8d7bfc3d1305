"""Each kind of image file is read in one way, and an unreadable one is named or left out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from crate.config.schema import Digits as DigitsConfig
from crate.data import transforms
from crate.data.folder import Folder
from crate.data.images.image import read_image
from crate.data.loading.loader import eval_batches, train_batches
from crate.data.source import Source
from crate.data.splits import notes
from crate.errors import UserError
from tests.launching import TINY, launch, launch_ranks, run_folder, status

DATA = DigitsConfig(img_size=16, in_chans=3, num_classes=2)


@pytest.fixture(scope="module")
def photograph():
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("flower.jpg")).crop((200, 100, 260, 140))


def pixels(image):
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_is_the_same_in_all_channels(photograph, tmp_path, mode):
    photograph.convert(mode).save(tmp_path / "x.png")
    result = pixels(read_image(tmp_path / "x.png"))
    assert result.shape == (40, 60, 3)
    assert np.array_equal(result[..., 0], pixels(photograph.convert(mode).convert("L")))
    assert (result[..., 0] == result[..., 1]).all() and (result[..., 0] == result[..., 2]).all()


def test_a_palette_gives_its_colours_with_and_without_transparency(photograph, tmp_path):
    palette = photograph.quantize(64)
    expected = pixels(palette.convert("RGB"))
    palette.save(tmp_path / "plain.png")
    palette.save(tmp_path / "clear.png", transparency=bytes(range(64)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("plain.png", "clear.png"):
            assert np.array_equal(pixels(read_image(tmp_path / name)), expected)


def test_transparency_is_dropped(photograph, tmp_path):
    clear = photograph.copy()
    clear.putalpha(0)
    clear.save(tmp_path / "x.png")
    assert np.array_equal(pixels(read_image(tmp_path / "x.png")), pixels(photograph))


def test_cmyk_keeps_its_colours(photograph, tmp_path):
    photograph.convert("CMYK").save(tmp_path / "x.jpg", quality=95, subsampling=0)
    assert abs(pixels(read_image(tmp_path / "x.jpg")) - pixels(photograph)).mean() < 5


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_of_sixteen_bits_the_upper_eight_are_kept(tmp_path, suffix):
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    if suffix == "pgm":
        (tmp_path / "x.pgm").write_bytes(b"P5 64 64 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    result = read_image(tmp_path / f"x.{suffix}")
    assert result.mode == "RGB" and np.array_equal(pixels(result)[..., 1], values >> 8)


@pytest.mark.parametrize(("orientation", "turn"), [(6, 3), (3, 2), (8, 1)])
def test_an_image_is_rotated_by_its_exif_tag(photograph, tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph.save(tmp_path / "x.png", exif=exif)
    expected = np.rot90(pixels(photograph), turn)
    assert np.array_equal(pixels(read_image(tmp_path / "x.png")), expected)


def test_of_several_frames_the_first_is_read(photograph, tmp_path):
    other = Image.new("RGB", photograph.size)
    photograph.save(tmp_path / "x.webp", save_all=True, append_images=[other], lossless=True)
    assert np.array_equal(pixels(read_image(tmp_path / "x.webp")), pixels(photograph))


def test_the_content_of_a_file_counts_and_not_its_suffix(photograph, tmp_path):
    photograph.quantize(16).save(tmp_path / "x.gif")
    (tmp_path / "x.gif").rename(tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg").size == photograph.size


def break_file(kind, path, photograph):
    photograph.save(path.with_suffix(".jpg"), quality=90)
    whole = path.with_suffix(".jpg").read_bytes()
    path.with_suffix(".jpg").unlink()
    if kind == "float":
        Image.fromarray(np.ones((4, 4), np.float32)).save(path, format="TIFF")
    elif kind == "int32":
        Image.fromarray(np.full((4, 4), -7, np.int32)).save(path, format="TIFF")
    elif kind == "torn png":
        photograph.save(path, format="PNG")
        path.write_bytes(path.read_bytes()[:-300])
    else:
        contents = {"empty": b"", "text": b"<html>", "torn": whole[: len(whole) // 2]}
        path.write_bytes(contents[kind])


KINDS = ("empty", "text", "torn", "torn png", "float", "int32")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_image_is_named(photograph, tmp_path, kind):
    path = tmp_path / "bad.jpeg"
    break_file(kind, path, photograph)
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert caught.value.given.startswith(f"{path} cannot be read as an image: ")
    assert len(caught.value.given.splitlines()) == 1
    assert "data.on_corrupt=skip" in str(caught.value)


@pytest.fixture
def tree(photograph, tmp_path):
    """Return two splits of two classes of six images; train has one bad file of each kind too."""
    for split in ("train", "val"):
        for label in ("a", "b"):
            folder = tmp_path / "tree" / split / label
            folder.mkdir(parents=True)
            for number in range(6):
                photograph.rotate(50 * number).save(folder / f"{number}.png")
    for number, kind in enumerate(KINDS):
        path = tmp_path / "tree" / "train" / "ab"[number % 2] / f"{number}x.jpg"
        break_file(kind, path, photograph)
    return tmp_path / "tree"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_one_line_also_from_a_worker(tree, workers):
    folder = Source(Folder("train", str(tree)), 3)
    transform = transforms.evaluation(DATA)
    common = {"batch_size": 4, "workers": workers}
    for batches in (
        train_batches(folder, transform, seed=0, start=0, stop=5, **common),
        eval_batches(folder, transform, **common),
    ):
        with pytest.raises(UserError) as caught:
            list(batches)
        assert "x.jpg cannot be read as an image" in caught.value.given
        assert "Traceback" not in str(caught.value) and len(str(caught.value).splitlines()) == 2


def test_skip_leaves_out_what_cannot_be_read_before_training(tree):
    whole, skipped = Folder("train", str(tree)), Folder("train", str(tree), on_corrupt="skip")
    val = Folder("val", str(tree), on_corrupt="skip")
    for images in (whole, skipped, val):
        images.check()
    assert len(whole) == 18 and len(skipped) == 12
    assert skipped.paths == [path for path in whole.paths if "x.jpg" not in path]
    assert skipped.labels == [0] * 6 + [1] * 6
    (note,) = notes({"train": skipped, "val": val})[:1]
    assert f"{tree / 'train'}: 18 images checked, 6 unreadable left out: " in note
    batches = train_batches(
        Source(skipped, 3),
        transforms.evaluation(DATA),
        batch_size=5,
        seed=0,
        start=0,
        stop=3,
        workers=2,
    )
    assert sorted(label for _, labels in batches for label in labels.tolist()) == [0] * 6 + [1] * 6


def test_a_run_fails_by_the_files_name_or_trains_without_it_and_says_so(tree, tmp_path):
    ours = (*TINY, "data=imagefolder", f"data.root={tree}", "data.img_size=16", "train.epochs=1")
    ours += ("train.batch_size=4", "schedule.warmup_epochs=0", "data.workers=1", "device=cpu")
    done = launch(*ours, f"outputs={tmp_path / 'one'}")
    assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
    assert "x.jpg cannot be read as an image" in done.stderr and "Traceback" not in done.stderr
    folder = run_folder(tmp_path / "one")
    assert status(folder)["state"] == "failed" and "x.jpg" in status(folder)["reason"]
    done = launch(*ours, "data.on_corrupt=skip", f"outputs={tmp_path / 'two'}")
    assert done.returncode == 0, done.stderr
    log = (run_folder(tmp_path / "two") / "log").read_text()
    assert "18 images checked, 6 unreadable left out" in log
    assert "12 images checked, 0 unreadable left out" in log
    again = launch(*ours, "data.on_corrupt=skip", "seed=1", f"outputs={tmp_path / 'two'}")
    assert "18 images checked before, 6 unreadable left out" in again.stdout, again


def test_an_unreadable_image_of_any_rank_is_named_once(tree, tmp_path):
    ours = (*TINY, "data=imagefolder", f"data.root={tree}", "data.img_size=16", "train.epochs=1")
    ours += ("train.batch_size=4", "schedule.warmup_epochs=0", "data.workers=0", "device=cpu")
    done = launch_ranks(*ours, f"outputs={tmp_path / 'out'}")
    assert [each.returncode for each in done] == [1, 1]
    errors = "".join(each.stderr for each in done)
    assert errors.count("x.jpg cannot be read as an image") == 1 and "Traceback" not in errors, (
        errors
    )
    assert "x.jpg" in status(run_folder(tmp_path / "out"))["reason"]
