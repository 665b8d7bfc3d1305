"""RandAugment and TrivialAugment: torchvision's, after crop and flip, seeded by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from crate.config.schema import Digits as DigitsConfig
from crate.config.target import call
from crate.data import transforms
from crate.data.digits import Digits
from crate.data.loading.loader import train_batches
from crate.data.source import Source
from crate.tasks.identity import prepare

NAMES = ("randaugment", "trivialaugment")


def augmented(composed, *typed, workers=0, in_chans=1, epochs=1, start=0):
    config = prepare(composed(*typed, f"data.in_chans={in_chans}"))
    augment = transforms.training(config.data, call(config.augment, img_size=(16, 16)))
    images = Source(Digits("val"), in_chans)
    result = train_batches(
        images, augment, batch_size=90, seed=3, start=start, stop=4 * epochs, workers=workers
    )
    return torch.cat([images for images, _ in result])


@pytest.mark.parametrize("name", NAMES)
def test_draws_depend_on_the_seed_and_the_image_alone(composed, name):
    whole = augmented(composed, f"augment={name}", epochs=2)
    assert whole.shape == (720, 1, 16, 16) and whole.dtype == torch.uint8
    assert torch.equal(augmented(composed, f"augment={name}", epochs=2, workers=2), whole)
    assert torch.equal(augmented(composed, f"augment={name}", epochs=2, start=3), whole[270:])
    assert not torch.equal(whole[:360], augmented(composed, "augment=flip_crop"))
    assert augmented(composed, f"augment={name}", in_chans=3).shape == (360, 3, 16, 16)


def test_it_is_crop_then_flip_then_torchvisions_randaugment(composed):
    image = Digits("val")[5][0].expand(3, -1, -1).contiguous()
    config = prepare(composed("augment=randaugment", "augment.num_ops=3", "augment.fill=9"))
    ours = call(config.augment, img_size=(16, 16))
    steps = (
        v2.RandomResizedCrop((16, 16), scale=(0.08, 1.0), antialias=True),
        v2.RandomHorizontalFlip(0.5),
        v2.RandAugment(3, 14, fill=9),
    )
    for seed in range(20):
        torch.manual_seed(seed)
        expected = image
        for step in steps:
            expected = step(expected)
        torch.manual_seed(seed)
        assert torch.equal(ours(image), expected)


def test_its_options_change_the_images(composed):
    base = augmented(composed, "augment=randaugment")
    for option in ("num_ops=1", "magnitude=30", "fill=128", "min_scale=0.9", "flip_prob=0"):
        other = augmented(composed, "augment=randaugment", f"augment.{option}")
        assert not torch.equal(base, other), option
    none = augmented(composed, "augment=randaugment", "augment.num_ops=0")
    assert torch.equal(none, augmented(composed, "augment=flip_crop"))


def test_the_fine_tunings_test_images_are_resized_whole(composed):
    config = prepare(composed("experiment=finetune_pets", "data.root=/nowhere"))
    assert isinstance(config.data, object) and not isinstance(config.data, DigitsConfig)
    image = torch.zeros(3, 100, 300, dtype=torch.uint8)
    image[:, :, :5] = image[:, :, -5:] = 255  # the edges, which a crop would cut off
    result = transforms.evaluation(config.data)(image)
    assert result.shape == (3, 224, 224) and (result[:, :, 0] == 255).all()
    assert (result[:, :, -1] == 255).all()
