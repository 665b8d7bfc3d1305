"""Crops resized by the training device equal those resized by a worker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from crate.config.schema import Digits as DigitsConfig
from crate.data import transforms
from crate.data.digits import Digits
from crate.data.images import device_crop
from crate.data.images.device_crop import Crops, Cut, resize
from crate.data.loading.loader import train_batches
from crate.data.loading.prefetch import on_device, one_ahead
from crate.errors import UserError

CPU = torch.device("cpu")
SIZES = [(256, 341), (24, 40), (1, 1), (500, 3), (112, 112), (97, 225), (60, 60)]


@pytest.fixture(scope="module")
def photograph():
    from sklearn.datasets import load_sample_image

    return torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)  # (3, h, w)


def table_of(sizes, flipped):
    return torch.tensor([(0, h, w, flip) for (h, w), flip in zip(sizes, flipped, strict=True)])


@pytest.mark.parametrize("target", [(112, 112), (28, 60), (300, 2)])
def test_two_matrix_products_are_torchs_antialiased_interpolation(target):
    drawn = torch.Generator().manual_seed(0)
    flipped = [number % 2 == 1 for number in range(len(SIZES))]
    padded = torch.rand((len(SIZES), 500, 341, 3), generator=drawn) * 255  # padding counts nothing
    ours = resize(padded, table_of(SIZES, flipped), target)
    for number, (height, width) in enumerate(SIZES):
        crop = padded[number, :height, :width].permute(2, 0, 1)[None]
        expected = F.interpolate(crop, target, mode="bilinear", antialias=True)[0]
        expected = expected.flip(-1) if flipped[number] else expected
        assert (ours[number] - expected).abs().max() < 0.01, (height, width)


def both(images, size=(64, 64), min_scale=0.08, workers=0, **changes):
    """Return the batches of a worker that resizes, and of one that leaves it to the device."""
    data = DigitsConfig(img_size=list(size), in_chans=len(images[0][0]), num_classes=2)
    augment = transforms.flip_crop(size, min_scale, 0.5)
    arguments = dict(batch_size=6, seed=3, start=0, stop=4) | changes
    for on_device_too in (False, True):
        transform = transforms.training(data, augment, resize_on_device=on_device_too)
        yield list(train_batches(images, transform, workers=workers, **arguments))


def crops_of(photograph, count=12):
    """Return photographs of several shapes, in memory as the decoder leaves them."""
    sizes = [(120 + 17 * number, 300 - 19 * number) for number in range(count)]
    return [(photograph[:, :h, :w], number) for number, (h, w) in enumerate(sizes)]


def is_near(ours, expected):
    apart = (ours.int() - expected.int()).abs()
    return apart.max() <= 1 and apart.float().mean() < 0.2


@pytest.mark.parametrize("size", [(64, 64), (160, 96)])
def test_a_batch_is_that_of_the_worker_within_one_level(photograph, size):
    for (theirs, labels), (crops, same) in zip(*both(crops_of(photograph), size), strict=True):
        ours = crops.resized(CPU)
        assert isinstance(crops, Crops) and torch.equal(labels, same) and len(crops) == 6
        assert ours.dtype == torch.uint8 and ours.shape == (6, 3, *size)
        assert is_near(ours, theirs)
        assert not is_near(ours.flip(0), theirs)


def test_it_is_torchvisions_crop_of_floats_rounded_from_the_same_draws(photograph):
    size, differ = (160, 120), 0
    cutter = device_crop.Cutter.of(transforms.flip_crop(size, 0.3, 0.5))
    theirs = v2.Compose(
        [v2.RandomResizedCrop(size, (0.3, 1.0), antialias=True), v2.RandomHorizontalFlip(0.5)]
    )
    image = photograph[:, :240, :320]
    for seed in range(20):
        torch.manual_seed(seed)
        expected, then = theirs(image.float()), torch.rand(())
        torch.manual_seed(seed)
        cut, after = cutter(image), torch.rand(())
        assert torch.equal(after, then)
        ours = Crops.of([cut]).resized(CPU)[0]
        differ += (ours != expected.round().to(torch.uint8)).sum()
    assert differ / (20 * expected.numel()) < 1e-3  # halves, which float32 rounds either way


def test_a_large_crop_is_resized_before_it_is_moved(photograph):
    images = [(photograph.repeat(1, 3, 3), 0), (photograph[:, :100, :90], 1)]
    (theirs,), (crops,) = both(images, (32, 32), 0.9, batch_size=2, stop=1)
    assert crops[0].pixels.numel() <= 2 * device_crop.MOST * 3 * 32 * 32
    assert is_near(crops[0].resized(CPU), theirs[0])
    whole = crops[0].table[:, 1:3].tolist().index([32, 32])
    assert torch.equal(crops[0].resized(CPU)[whole], theirs[0][whole])


def test_a_crop_of_a_large_image_keeps_no_more_than_it_is(photograph):
    cutter = device_crop.Cutter.of(transforms.flip_crop((64, 64), 0.02, 0.5))
    torch.manual_seed(0)
    cut = next(cut for _ in range(50) if (cut := cutter(photograph)).pixels.shape[1:] != (64, 64))
    assert cut.pixels.untyped_storage().nbytes() <= device_crop.MOST * 3 * 64 * 64
    torch.manual_seed(0)
    while (box := cutter.crop.box(*photograph.shape[1:]))[2:] != cut.pixels.shape[1:]:
        cutter.flip.draw()
    top, left, height, width = box
    expected = photograph[:, top : top + height, left : left + width]
    assert torch.equal(cut.pixels, expected)


def test_parts_of_a_batch_are_the_batch(photograph, monkeypatch):
    _, ((crops, _),) = both(crops_of(photograph), batch_size=12, stop=1)
    whole = crops.resized(CPU)
    monkeypatch.setattr(device_crop, "CHUNK_PX", 5 * 300 * 300)
    assert ((crops.resized(CPU).int() - whole.int()).abs() <= 1).all()
    monkeypatch.setattr(device_crop, "CHUNK_PX", 1)
    assert ((crops.resized(CPU).int() - whole.int()).abs() <= 1).all()


def test_workers_and_a_resume_hand_over_the_same_crops(photograph):
    images = crops_of(photograph)
    _, whole = both(images)
    for changes in ({"workers": 2}, {"start": 2}):
        _, again = both(images, **changes)
        for (ours, _), (theirs, _) in zip(again, whole[changes.get("start", 0) :], strict=True):
            assert torch.equal(ours.pixels, theirs.pixels)
            assert torch.equal(ours.table, theirs.table)


def test_grey_images_and_floats_are_handed_over_as_well():
    images = Digits("val")
    for (theirs, _), (crops, _) in zip(*both(images, (16, 16)), strict=True):
        assert is_near(crops.resized(CPU), theirs)
    floats = [(image / 255, label) for image, label in (images[number] for number in range(12))]
    for (theirs, _), (crops, _) in zip(*both(floats, (16, 16)), strict=True):
        assert torch.allclose(crops.resized(CPU), theirs, atol=1e-6)


def test_transforms_after_the_crop_stay_in_the_worker():
    data = DigitsConfig(img_size=16, in_chans=1, num_classes=10)
    image = Digits("val")[0][0]
    size = (16, 16)
    crop = transforms.flip_crop(size, 0.08, 0.5)
    for augment, is_cut in (
        (crop, True),
        (transforms.randaugment(size, 0.08, 0.5, 2, 14, 0), False),
        (transforms.trivialaugment(size, 0.08, 0.5, 0), False),
        (v2.Compose([crop]), False),
        (lambda image: image, False),
        (None, False),
    ):
        ours = transforms.training(data, augment, resize_on_device=True)(image)
        assert isinstance(ours, Cut) is is_cut


def test_images_of_a_batch_that_differ_are_refused():
    def images(*shapes):
        return [(torch.zeros(shape, dtype=torch.uint8), 0) for shape in shapes]

    arguments = dict(batch_size=2, seed=0, start=0, stop=1, workers=0)
    with pytest.raises(UserError, match=r"differ: \(3, \d, 8\) torch.uint8 and \(3, \d, 8\)"):
        list(train_batches(images((3, 8, 8), (3, 9, 8)), lambda image: image, **arguments))
    mixed = [(torch.zeros(1, 8, 8), 0), (torch.zeros((1, 8, 8), dtype=torch.uint8), 0)]
    for transform in (
        lambda image: image,
        device_crop.Cutter.of(transforms.flip_crop((4, 4), 1, 0)),
    ):
        with pytest.raises(UserError, match="torch.uint8"):
            list(train_batches(mixed, transform, **arguments))


def test_on_a_cpu_batches_come_as_they_are_asked_for(photograph):
    asked = []

    def batches():
        for number in range(3):
            asked.append(number)
            yield torch.full((2, 1, 4, 4), number, dtype=torch.uint8), torch.tensor([0, 1])

    made = list(batches())
    asked.clear()
    for number, (images, labels) in enumerate(on_device(batches(), CPU)):
        assert asked == list(range(number + 1))
        assert torch.equal(images, made[number][0]) and torch.equal(labels, made[number][1])
    _, whole = both(crops_of(photograph))
    for (images, _), (crops, _) in zip(on_device(whole, CPU), whole, strict=True):
        assert torch.equal(images, crops.resized(CPU))


def test_the_next_is_fetched_first_and_its_error_comes_when_it_is_due():
    fetched = []

    def items(count, error=None):
        for number in range(count):
            fetched.append(number)
            yield number
        if error:
            raise error

    assert list(one_ahead(items(3))) == [0, 1, 2] and list(one_ahead([])) == []
    fetched.clear()
    assert next(one_ahead(items(3))) == 0 and fetched == [0, 1]
    stream = one_ahead(items(2, UserError("a torn file")))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(UserError, match="a torn file"):
        next(stream)


def test_a_crop_that_needs_no_resizing_is_handed_through_exactly():
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8))
    for is_flipped in (False, True):
        ours = Crops.of([Cut(image, is_flipped, (20, 30))]).resized(CPU)[0]
        assert torch.equal(ours, image.flip(-1) if is_flipped else image)
