"""Miniature published sets, in the form that torchvision has on disk, of real photographs."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

NUM = 6  # images in each file of labels


def crop(photographs: list[Image.Image], number: int, size: tuple[int, int]) -> Image.Image:
    left = 37 * number % 500
    box = (left, left // 4, left + size[0], left // 4 + size[1])
    return photographs[number % len(photographs)].crop(box)


def cifar(folder: Path, photographs: list, names: dict[str, int], label: str, meta: str) -> None:
    folder.mkdir(parents=True)
    key = "label_names" if label == "labels" else "fine_label_names"
    classes = 10 if label == "labels" else 100
    content = {key: [f"class {number}" for number in range(classes)]}
    (folder / meta).write_bytes(pickle.dumps(content))
    for name, first in names.items():
        crops = [crop(photographs, first + i, (32, 32)) for i in range(NUM)]
        data = np.stack([np.asarray(each).transpose(2, 0, 1).reshape(-1) for each in crops])
        values = {"data": data, label: [(first + i) % classes for i in range(NUM)]}
        (folder / name).write_bytes(pickle.dumps(values))


def cifar10(root: Path, photographs: list) -> None:
    names = {f"data_batch_{n}": NUM * n for n in range(1, 6)} | {"test_batch": 0}
    cifar(root / "cifar-10-batches-py", photographs, names, "labels", "batches.meta")


def cifar100(root: Path, photographs: list) -> None:
    names = {"train": NUM, "test": 0}
    cifar(root / "cifar-100-python", photographs, names, "fine_labels", "meta")


def flowers(root: Path, photographs: list) -> None:
    base = root / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    for number in range(1, 3 * NUM + 1):
        crop(photographs, number, (80, 60)).save(base / "jpg" / f"image_{number:05d}.jpg")
    savemat(base / "imagelabels.mat", {"labels": [1 + i % 102 for i in range(3 * NUM)]})
    parts = np.arange(1, 3 * NUM + 1).reshape(3, NUM)
    savemat(base / "setid.mat", dict(zip(("trnid", "valid", "tstid"), parts, strict=True)))


def pets(root: Path, photographs: list) -> None:
    base = root / "oxford-iiit-pet"
    for name in ("images", "annotations"):
        (base / name).mkdir(parents=True)
    for split, first in (("trainval", 0), ("test", 100)):
        lines = []
        for number in range(first, first + NUM):
            crop(photographs, number, (80, 60)).save(base / "images" / f"breed_{number}.jpg")
            lines.append(f"breed_{number} {1 + number % 37} 1 1")
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


MAKERS = {"cifar10": cifar10, "cifar100": cifar100, "flowers": flowers, "pets": pets}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def trust(patch, name: str, root: Path) -> None:
    """Give torchvision the checksums of the made files in place of the published ones."""
    if name in ("cifar10", "cifar100"):
        kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        for key in ("train_list", "test_list"):
            files = [[each, md5(root / kind.base_folder / each)] for each, _ in getattr(kind, key)]
            patch.setattr(kind, key, files)
        meta = root / kind.base_folder / kind.meta["filename"]
        patch.setattr(kind, "meta", kind.meta | {"md5": md5(meta)})
    elif name == "flowers":
        kind = datasets.Flowers102
        base = root / "flowers-102"
        ours = {
            key: (file, md5(base / file) if (base / file).is_file() else old)
            for key, (file, old) in kind._file_dict.items()
        }
        patch.setattr(kind, "_file_dict", ours)


def archive(path: Path, base: Path) -> None:
    """Pack a folder under its own name."""
    with tarfile.open(path, "w:gz") as tar:
        tar.add(base, arcname=base.name)


def official_names(depth: int) -> dict[str, str]:
    """Return the authors' name of each weight of a CRATE, by ours."""
    from crate.model.official import _LAYER, _OUTPUT, _STEM_AND_HEAD

    names = {"cls_token": "cls_token", "pos_embed": "pos_embedding"}
    for theirs, ours in _STEM_AND_HEAD.items():
        names |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    for layer in range(depth):
        for theirs, ours in (_LAYER | _OUTPUT).items():
            names[f"layers.{layer}.{ours}"] = f"transformer.layers.{layer}.{theirs}"
    return names
