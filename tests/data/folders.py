"""Splits of a folder of images, with and without a cache, and their batches."""

from __future__ import annotations

import torch

from crate.config.schema import FlipCrop
from crate.config.schema import Folder as FolderConfig
from crate.config.target import call
from crate.data import transforms
from crate.data.cache.choice import with_cache
from crate.data.loading.loader import eval_batches, train_batches
from crate.data.splits import load_splits


def config_of(root, cache="on", cache_px=32, **changes):
    values = dict(img_size=28, in_chans=3, num_classes=2, crop_pct=0.875, root=str(root), workers=0)
    return FolderConfig(**(values | dict(cache=str(cache), cache_px=cache_px) | changes))


def splits_of(data, outputs, decided=None):
    return with_cache(load_splits(data), data, str(outputs), decided)


def evaluated(images, data):
    loader = eval_batches(images, transforms.evaluation(data), workers=0, batch_size=3)
    batches = list(loader)
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


def caches(outputs):
    return sorted(path.parent for path in outputs.glob("*/cache.json"))
