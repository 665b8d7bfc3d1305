"""The batch of a step depends only on the seed and the step."""

from __future__ import annotations

import gzip
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

from crate.config.schema import Digits as DigitsConfig
from crate.data import transforms
from crate.data.digits import Digits
from crate.data.fashion_mnist import FashionMNIST
from crate.data.folder import Folder
from crate.data.loading.batches import BatchKeys, steps_per_epoch
from crate.data.loading.loader import eval_batches, train_batches
from crate.data.loading.seeds import mixed_seeds
from crate.data.source import Source
from crate.errors import UserError

DATA = DigitsConfig(img_size=16, in_chans=1, num_classes=10)


class Numbers:
    """Images that are their own index, disturbed by all three global generators."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        draws = torch.rand(()).item(), np.random.rand(), random.random()
        return torch.tensor([index, *draws], dtype=torch.float64), index


def batches(start, stop, workers, seed=0, count=50):
    result = train_batches(
        Numbers(count),
        lambda image: image,
        batch_size=8,
        seed=seed,
        start=start,
        stop=stop,
        workers=workers,
    )
    return [images for images, _ in result]


def test_a_resume_in_mid_epoch_gives_the_same_images_and_draws():
    whole = batches(0, 21, workers=0)
    for start in (1, 7, 10, 20):
        for ours, theirs in zip(batches(start, 21, workers=0), whole[start:], strict=True):
            assert torch.equal(ours, theirs)


def test_the_number_of_workers_changes_nothing():
    whole = batches(0, 15, workers=0)
    for workers in (1, 3):
        for ours, theirs in zip(batches(0, 15, workers=workers), whole, strict=True):
            assert torch.equal(ours, theirs)


def test_each_epoch_gives_each_image_once_in_another_order():
    per_epoch = steps_per_epoch(50, 8)
    assert per_epoch == 7
    keys = list(BatchKeys(50, 8, seed=0, start=0, stop=3 * per_epoch))
    orders = []
    for epoch in range(3):
        chosen = [key for one in keys[epoch * per_epoch : (epoch + 1) * per_epoch] for key in one]
        assert {e for e, _ in chosen} == {epoch}
        orders.append([index for _, index in chosen])
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] != orders[1] != orders[2]


def test_draws_differ_between_epochs_images_and_seeds():
    draws = torch.cat(batches(0, 14, workers=0))[:, 1:]
    assert len({tuple(row.tolist()) for row in draws}) == 100
    assert not torch.equal(torch.cat(batches(0, 14, workers=0, seed=1))[:, 1:], draws)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32, 2**61])
def test_the_seeds_of_a_batch_are_those_of_its_images_from_numpys_seed_sequence(seed):
    draw = random.Random(seed)
    epochs = [draw.getrandbits(bits) for bits in range(1, 34)]  # the last may need two words
    indices = [draw.getrandbits(20) for _ in epochs]
    expected = [
        int(np.random.SeedSequence(each).generate_state(1, np.uint64)[0]) >> 1
        for each in zip([seed] * len(epochs), epochs, indices, strict=True)
    ]
    assert mixed_seeds(seed, epochs, indices) == expected
    assert mixed_seeds(seed, epochs[:31], indices[:31]) == expected[:31]


def test_loading_leaves_the_models_generators_alone():
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = torch.rand(()).item(), np.random.rand(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    iterator = train_batches(
        Numbers(50), lambda image: image, batch_size=8, seed=0, start=0, stop=9, workers=0
    )
    next(iterator)
    assert (torch.rand(()).item(), np.random.rand(), random.random()) == expected


def test_evaluation_gives_each_image_once_in_order():
    result = [
        label
        for _, labels in eval_batches(Numbers(23), lambda image: image, batch_size=5, workers=2)
        for label in labels.tolist()
    ]
    assert result == list(range(23))


def test_digits_are_split_by_class_without_overlap():
    train, val = Digits("train"), Digits("val")
    assert (len(train), len(val)) == (1437, 360)
    for digit in range(10):
        share = val.labels.count(digit) / (val.labels.count(digit) + train.labels.count(digit))
        assert abs(share - 0.2) < 0.01
    from sklearn.datasets import load_digits

    everything = torch.cat([train.images, val.images]).flatten(1).sum(1).sort().values
    original = torch.from_numpy((load_digits().images * 255 / 16).round()).flatten(1).sum(1)
    assert torch.equal(everything.long(), original.sort().values.long())


def test_evaluation_resizes_and_crops_as_torchvision_does_by_hand():
    from torchvision.transforms import functional

    data = DigitsConfig(img_size=224, in_chans=3, num_classes=2, crop_pct=0.875)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8))
    ours = transforms.evaluation(data)(Source([(image, 0)], 3)[0][0])
    tensor = functional.pil_to_tensor(image)
    by_hand = functional.center_crop(functional.resize(tensor, 256, antialias=True), [224, 224])
    assert ours.dtype == torch.uint8 and ours.shape == by_hand.shape
    assert (ours.int() - by_hand.int()).abs().max() <= 1  # they round differently


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_any_kind_of_image_gets_the_asked_channels(mode, in_chans):
    data = DigitsConfig(img_size=[16, 24], in_chans=in_chans, num_classes=2)
    given = Image.new("RGB", (40, 30), (200, 10, 60)).convert(mode)
    image, _ = Source([(given, 0)], in_chans)[0]
    assert image.shape == (in_chans, 30, 40) and image.dtype == torch.uint8
    assert transforms.evaluation(data)(image).shape == (in_chans, 16, 24)
    augment = transforms.flip_crop((16, 24), 0.5, 0.5)
    assert transforms.training(data, augment)(image).shape == (in_chans, 16, 24)


class Shifted(Subset):
    """A user's part of a data set, which changes each image."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image + 7, label

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Pixels:
    """A user's data set with attributes that have other meanings among ours."""

    def __init__(self):
        self.pixels = torch.arange(8 * 3 * 4 * 4, dtype=torch.uint8).view(8, 3, 4, 4)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index], index


def test_a_users_data_set_is_read_by_its_own_getitem():
    for images in (Pixels(), Shifted(Pixels(), [4, 2]), Subset(Pixels(), [5, 3])):
        source = Source(images, 3)
        assert len(source) == len(images)
        for index in range(len(images)):
            image, label = images[index]
            assert torch.equal(source[index][0], image) and source[index][1] == label


def test_normalizing_is_the_formula():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    result = transforms.Normalize([0.4, 0.5, 0.6], [0.1, 0.2, 0.3])(images)
    expected = (images[:, 2].float() / 255 - 0.6) / 0.3
    assert torch.allclose(result[:, 2], expected, atol=1e-6)


def write_idx(folder, name, values, zipped):
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    content = header + values.tobytes()
    path = folder / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_read_as_written_and_torn_ones_are_refused(tmp_path, zipped):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    write_idx(tmp_path, "train-labels-idx1-ubyte", np.arange(5, dtype=np.uint8), zipped)
    path = write_idx(tmp_path, "train-images-idx3-ubyte", images, zipped)
    result = FashionMNIST("train", str(tmp_path))
    assert torch.equal(result[3][0], torch.from_numpy(images[3:4])) and result[3][1] == 3
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"torn|cannot be read"):
        FashionMNIST("train", str(tmp_path))


def test_folders_give_classes_in_the_order_of_their_names(tmp_path):
    for number, name in enumerate(("b", "a", "c")):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "train" / name / "x.png")
    folder = Folder("train", str(tmp_path))
    assert [(folder[i][0].getpixel((0, 0))[0], folder[i][1]) for i in range(3)] == [
        (1, 0),
        (0, 1),
        (2, 2),
    ]


@pytest.mark.parametrize("size", [(256, 341), (20, 300), (224, 224)])
@pytest.mark.parametrize("is_strided", [False, True])
def test_our_crop_and_flip_draw_and_give_what_torchvisions_do(size, is_strided):
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(224, scale=(0.08, 1.0), antialias=True)
    theirs = v2.Compose([crop, v2.RandomHorizontalFlip(0.5)])
    ours = transforms.flip_crop((224, 224), 0.08, 0.5)
    for seed in range(20):
        shape = (*size, 3) if is_strided else (3, *size)
        image = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))
        image = image.to(torch.uint8)
        image = image.permute(2, 0, 1) if is_strided else image
        torch.manual_seed(seed)
        expected, then = theirs(image), torch.rand(())
        torch.manual_seed(seed)
        assert torch.equal(ours(image), expected) and torch.equal(torch.rand(()), then)
