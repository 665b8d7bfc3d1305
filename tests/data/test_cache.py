"""A cache changes how fast images are read, and not the images."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from crate.data import transforms
from crate.data.cache import choice, files
from crate.data.source import Source
from crate.data.splits import load_splits
from crate.errors import UserError
from tests.data.folders import config_of, evaluated, same, splits_of, trained


@pytest.mark.parametrize("changes", [{}, {"crop_pct": 1.0}, {"in_chans": 1}, {"val_fraction": 0.3}])
def test_evaluation_from_the_cache_is_evaluation_without_it_exactly(photographs, tmp_path, changes):
    # cache_px differs from what evaluation resizes to: that must not reach the evaluated images
    data = config_of(photographs, cache_px=40, **changes)
    cached, where = splits_of(data, tmp_path)
    assert where == str(tmp_path / "cache")
    plain = {name: Source(each, data.in_chans) for name, each in load_splits(data).items()}
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


def test_a_resume_in_mid_epoch_continues_in_the_same_order(photographs, tmp_path):
    data = config_of(photographs)
    whole = trained(splits_of(data, tmp_path)[0]["train"], data)
    again = trained(splits_of(data, tmp_path)[0]["train"], data, start=4)
    assert same(again, whole[4:])


def test_auto_caches_resized_images_if_they_are_many_and_fit(
    photographs, tmp_path, monkeypatch, caplog
):
    data = config_of(photographs, cache="auto", cache_px=None)
    assert splits_of(data, tmp_path)[1] == "off"  # full-size images are asked for
    data.cache_px = 32
    assert splits_of(data, tmp_path)[1] == "off"  # few images
    monkeypatch.setattr(choice, "FEW", 10)
    assert splits_of(data, tmp_path, decided="off")[1] == "off"  # as when the run first started
    monkeypatch.setattr(choice, "free_bytes", lambda folder: 30_000)
    with caplog.at_level("INFO", "crate"):
        assert splits_of(data, tmp_path)[1] == "off"
    assert "no cache: it would take" in caplog.text
    monkeypatch.setattr(choice, "free_bytes", lambda folder: 10**9)
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
    from crate.tasks.identity import prepare

    with pytest.raises(UserError, match="names no files"):
        prepare(composed("data=digits", "data.cache=on"))


def test_typed_values_become_a_folder_and_a_size(composed, photographs):
    from crate.paths import CHECKOUT
    from crate.tasks.identity import prepare, signature_of

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
