"""Published sets are located, downloaded once and read; damaged ones are errors that name them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from torchvision import datasets

from crate.config.schema import Downloaded
from crate.data import downloaded, facts
from crate.data.fashion_mnist import FashionMNIST
from crate.data.label_names import label_names
from crate.data.published import PUBLISHED
from crate.data.published.descriptor import Published, Torchvision
from crate.data.source import Source
from crate.data.splits import load_splits
from crate.errors import UserError
from crate.paths import CHECKOUT, CONF
from crate.tasks.identity import prepare, signature_of
from tests import made
from tests.data.test_loader import write_idx

KINDS = {
    "cifar10": downloaded.CIFAR10,
    "cifar100": downloaded.CIFAR100,
    "flowers": downloaded.Flowers,
    "pets": downloaded.Pets,
}
COUNTS = {"cifar10": 5 * made.NUM, "cifar100": made.NUM, "flowers": made.NUM, "pets": made.NUM}


@pytest.mark.parametrize("name", KINDS)
def test_a_set_is_read_as_torchvision_reads_it(name, roots, composed):
    root = roots[name]
    train, val = (KINDS[name](split, str(root), download=False) for split in ("train", "val"))
    assert (len(train), len(val)) == (COUNTS[name], made.NUM)
    theirs = {
        "cifar10": lambda: datasets.CIFAR10(root, train=False),
        "cifar100": lambda: datasets.CIFAR100(root, train=False),
        "flowers": lambda: datasets.Flowers102(root, split="test"),
        "pets": lambda: datasets.OxfordIIITPet(root, split="test"),
    }[name]()
    for index in range(made.NUM):
        image, label = val[index]
        assert image.tobytes() == theirs[index][0].tobytes() and label == theirs[index][1]
    config = composed(f"data={name}").data
    assert image.mode == "RGB" and config.in_chans == 3
    assert (
        0
        <= label
        < config.num_classes
        == {"cifar10": 10, "cifar100": 100, "flowers": 102}.get(name, 37)
    )


def test_published_sizes_are_known_without_files(composed):
    for name, sizes in (
        ("cifar10", (50_000, 10_000)),
        ("cifar100", (50_000, 10_000)),
        ("flowers", (1_020, 6_149)),
        ("pets", (3_680, 3_669)),
    ):
        config = prepare(composed(f"data={name}", "data.root=/nowhere"))
        assert tuple(facts.num_images(config.data).values()) == sizes
        assert facts.identity(config.data) is None


def test_the_folder_is_in_the_checkout_by_default(composed, monkeypatch, tmp_path):
    monkeypatch.delenv("CRATE_DATA", raising=False)
    config = prepare(composed("data=cifar10"))
    assert config.data.root == str(CHECKOUT / "data" / "cifar10")
    before = signature_of(config)
    monkeypatch.setenv("CRATE_DATA", str(tmp_path))
    for name in ("cifar10", "cifar100", "flowers", "pets"):
        assert prepare(composed(f"data={name}")).data.root == str(tmp_path / name)
    assert signature_of(prepare(composed("data=cifar10"))) == before
    (tmp_path / "imagenet100").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path}/imagenet100"):
        prepare(composed("data=imagenet100"))
    root = f"data.root={tmp_path}/elsewhere"
    assert prepare(composed("data=pets", root)).data.root == f"{tmp_path}/elsewhere"


def test_fashion_mnist_of_debian_is_used_unless_ours_exists(composed, monkeypatch, tmp_path):
    debian, ours = tmp_path / "debian", tmp_path / "data" / "fashion_mnist"
    debian.mkdir()
    monkeypatch.setenv("CRATE_DATA", str(tmp_path / "data"))
    row = replace(PUBLISHED["fashion_mnist"], system_folder=debian)
    monkeypatch.setitem(PUBLISHED, "fashion_mnist", row)
    assert prepare(composed("data=fashion_mnist")).data.root == str(ours)
    fashion(debian)
    assert prepare(composed("data=fashion_mnist")).data.root == str(debian)
    (ours / "FashionMNIST" / "raw").mkdir(parents=True)
    fashion(ours / "FashionMNIST" / "raw")
    root = prepare(composed("data=fashion_mnist")).data.root
    assert root == str(ours) and len(FashionMNIST("train", root, download=False)) == 3


def fashion(folder):
    import numpy as np

    for name in PUBLISHED["fashion_mnist"].files:
        values = np.zeros((3, 28, 28)) if "images" in name else np.arange(3)
        write_idx(folder, name, values.astype(np.uint8), zipped=True)


def test_a_set_of_other_files_than_the_published_is_refused(roots, tmp_path):
    root = tmp_path / "cifar100"
    shutil.copytree(roots["cifar100"], root)
    with open(root / "cifar-100-python" / "test", "ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="cifar100 in .* are torn or not the published ones"):
        downloaded.CIFAR100("val", str(root))


def test_a_corrupt_image_of_a_published_set_is_named(roots, tmp_path):
    root = tmp_path / "flowers"
    shutil.copytree(roots["flowers"], root)
    images = downloaded.Flowers("val", str(root))
    file = images.paths[2]
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError, match=f"{file.name} cannot be read as an image"):
        images[2]


class Tiles(datasets.VisionDataset):
    """A data set in torchvision's form with two classes, which "downloads" by writing files."""

    classes: ClassVar = ["dark", "light"]

    def __init__(self, root, train=True, download=False):
        folder = Path(root) / "tiles" / ("train" if train else "test")
        if download:
            for split, count in (("train", 8), ("test", 4)):
                for number in range(count):
                    path = Path(root) / "tiles" / split / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.new("RGB", (12, 12), (200 * (number % 2),) * 3).save(path)
        self._files = sorted(folder.iterdir())
        self._labels = [int(path.stem) % 2 for path in self._files]


def test_a_row_and_a_yaml_file_make_a_published_set(tmp_path, monkeypatch):
    """The row of a set that torchvision reads configures, downloads, counts and reads it."""
    row = Published(
        name="tiles",
        schema=Downloaded,
        num_images={"train": 8, "val": 4},
        torchvision=Torchvision(
            dataset="Tiles",
            train={"train": True},
            val={"train": False},
            paths="_files",
            labels="_labels",
        ),
        files=("tiles/train", "tiles/test"),
    )
    monkeypatch.setitem(PUBLISHED, "tiles", row)
    monkeypatch.setattr(datasets, "Tiles", Tiles, raising=False)
    monkeypatch.setenv("CRATE_DATA", str(tmp_path))
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "tiles.yaml").write_text(
        "defaults: [/schema/data/Downloaded@_here_, _self_]\n"
        "published: tiles\nimg_size: 12\nin_chans: 3\nnum_classes: 2\n"
        "suggested: {patch_size: 4}\n"
    )
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
        cfg = compose("config", overrides=["data=tiles", search])
        unknown = compose("config", overrides=["data=tiles", search, "data.published=tile"])
        forbidden = compose("config", overrides=["data=tiles", search, "data.download=false"])
    with pytest.raises(UserError, match=r"(?s)data.published=tile is no set.*type:.*=tiles"):
        prepare(unknown)
    with pytest.raises(UserError, match="no tiles in .* missing, and data.download=false"):
        prepare(forbidden)
    config = prepare(cfg)
    assert config.data.root == str(tmp_path / "tiles")
    assert facts.num_images(config.data) == {"train": 8, "val": 4}
    assert facts.identity(config.data) is None
    splits = load_splits(config.data)
    assert {name: len(images) for name, images in splits.items()} == {"train": 8, "val": 4}
    assert [splits["val"][index][0].getpixel((0, 0))[0] for index in range(4)] == [0, 200, 0, 200]
    assert label_names(splits["val"], 2) == ["dark", "light"]
    assert Source(splits["train"], 3).has_files, "so that it can be cached"


def test_every_row_has_its_yaml_file_and_every_yaml_file_its_row():
    files = {file.stem for file in (CONF / "data").glob("*.yaml")}
    assert files == {*PUBLISHED, "imagefolder"}
    documented = (CHECKOUT / "docs" / "data.md").read_text()
    assert all(f"`{name}`" in documented for name in PUBLISHED)
