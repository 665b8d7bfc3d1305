"""How many images per second one core prepares: the authors' way, ours from files, ours cached.

The authors' way is torchvision's ImageFolder with PIL, RandomResizedCrop(224), flip, ToTensor and
Normalize in the worker. Ours gives uint8 batches, which the training device normalises; separate
rows include that cost for training on a CPU. For a GPU ours gives crops before resizing, and the
device resizes them too, at no cost to a core.
Afterwards several processes read one cache; the second table shows the memory that this adds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crate.bench.output import add_json, show

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor
    from torch.utils.data import Dataset

    from crate.data.cache.files import Cached
    from crate.data.images.split import Split
    from crate.data.loading.loader import Batch

HELP = "images per second per core: torchvision and PIL, ours from files, ours from the cache"
AUTHORS = "ImageFolder + PIL (the authors')"
BATCH = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.description = __doc__
    add_json(parser)
    parser.add_argument("--root", type=Path, help="folder with train/, val/; default: a new one")
    parser.add_argument("--images", type=int, default=1_000, help="images in the new folder")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; the result is their median")
    parser.add_argument("--batches", type=int, default=4, help=f"batches of {BATCH} per round")
    parser.add_argument("--processes", type=int, default=10, help="processes that read one cache")


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print the result; return 0."""
    return show(*measure(arguments), as_json=arguments.json)


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Return the measurements as JSON values, and the tables that show them."""
    import torch

    from crate.bench.interleaved import rates, summary
    from crate.bench.memory import memory_of_readers
    from crate.bench.photographs import write_photographs
    from crate.train.hardware.device import hardware

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.root or Path(folder, "photographs")
        if arguments.root is None:
            write_photographs(root, arguments.images)
        cached, ways = _ways(root, Path(folder))
        images_per_core_s = summary(rates(ways, arguments.batches, arguments.rounds), AUTHORS)
        memory = memory_of_readers(cached, arguments.processes)
    values = {
        "hardware": hardware(torch.device("cpu")),
        "images": len(cached),
        "rounds": arguments.rounds,
        "images_per_core_s": images_per_core_s,
        "memory": memory,
    }
    return values, [_table(values), _memory_table(memory)]


def _ways(root: Path, outputs: Path) -> tuple[Cached, dict[str, Callable[[int], int]]]:
    """Return the cached training split, and each way by name: `way(n)` prepares n batches."""
    from torchvision import datasets
    from torchvision import transforms as authors

    from crate.config.schema import FlipCrop, Folder
    from crate.config.target import call
    from crate.data import transforms
    from crate.data.cache.choice import with_cache
    from crate.data.cache.files import Cached
    from crate.data.loading.loader import train_batches
    from crate.data.splits import load_splits

    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    data = Folder(img_size=224, in_chans=3, num_classes=None, crop_pct=0.875, root=str(root))
    splits = load_splits(data)
    plain, _ = with_cache(splits, data, str(outputs))
    data.cache, data.cache_px = "on", 256
    cached, _ = with_cache(splits, data, str(outputs))
    theirs = authors.Compose(
        [
            authors.RandomResizedCrop(224),
            authors.RandomHorizontalFlip(),
            authors.ToTensor(),
            authors.Normalize(mean, std),
        ]
    )
    augment = call(FlipCrop(_target_="crate.data.transforms.flip_crop"), img_size=(224, 224))
    normalize = transforms.Normalize(mean, std)

    def ours(images: Split, for_gpu: bool = False) -> Iterator[Batch]:
        transform = transforms.training(data, augment, resize_on_device=for_gpu)
        return train_batches(
            images, transform, batch_size=BATCH, seed=0, start=0, stop=10**9, workers=0
        )

    def take(stream: Iterator[Batch], normalised: bool = False) -> Callable[[int], int]:
        def prepare(batches: int) -> int:
            return sum(
                len(normalize(images) if normalised else images)
                for images, _ in islice(stream, batches)
            )

        return prepare

    train = cached["train"]
    assert isinstance(train, Cached)
    return train, {
        AUTHORS: take(_endless(datasets.ImageFolder(str(root / "train"), theirs))),
        "ours, from files": take(ours(plain["train"])),
        "ours, cached": take(ours(cached["train"])),
        "ours, from files, for a GPU": take(ours(plain["train"], for_gpu=True)),
        "ours, cached, for a GPU": take(ours(cached["train"], for_gpu=True)),
        "ours, from files, normalised on the core": take(ours(plain["train"]), normalised=True),
        "ours, cached, normalised on the core": take(ours(cached["train"]), normalised=True),
    }


def _endless(images: Dataset[tuple[Tensor, int]]) -> Iterator[Batch]:
    """Return batches of shuffled images, epoch after epoch."""
    from torch.utils.data import DataLoader

    loader = DataLoader(images, batch_size=BATCH, shuffle=True)
    return chain.from_iterable(iter(lambda: loader, None))


def _table(values: dict[str, Any]) -> Table:
    """Return the table of images per second."""
    from rich.table import Table

    table = Table(
        title=f"images per second per core, median of {values['rounds']} interleaved rounds, "
        f"{values['images']} JPEGs ({values['hardware']})"
    )
    for name in ("", "median", "lowest", "highest", "ratio"):
        table.add_column(name, justify="left" if not name else "right")
    for name, row in values["images_per_core_s"].items():
        rates = [f"{row[key]:,.0f}" for key in ("median", "lowest", "highest")]
        table.add_row(name, *rates, f"{row['ratio']:.2f}")
    return table


def _memory_table(memory: dict[str, float]) -> Table:
    """Return the table of the readers' memory."""
    from rich.table import Table

    table = Table(title=f"{memory['processes']} processes, each reading the whole cache")
    table.add_column("")
    table.add_column("MB", justify="right")
    for name in ("cache_mb", "pss_before_mb", "pss_after_mb", "added_a_process_mb"):
        table.add_row(name, f"{memory[name]:,.1f}")
    return table
