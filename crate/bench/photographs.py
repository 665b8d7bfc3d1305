"""JPEG files like ImageNet's, cut from real photographs, for machines without a data set."""

from __future__ import annotations

from pathlib import Path

SIZE = (500, 375)  # the most frequent size in ImageNet
QUALITY = 90


def write_photographs(folder: Path, count: int, classes: int = 10) -> float:
    """Write `folder`/{train,val}/<class>/*.JPEG; return their mean size in bytes.

    train/ gets `count` images and val/ one per class. They are different crops, 500 x 375 px, of
    the photographs in scikit-learn and scikit-image.
    """
    import numpy as np
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_images

    images = [*load_sample_images().images, data.astronaut(), data.coffee(), data.chelsea()]
    photographs = [Image.fromarray(image) for image in images]
    draw, sizes = np.random.default_rng(0), []
    for number in range(count + classes):
        photograph = photographs[number % len(photographs)]
        share = draw.uniform(0.7, 1)
        width = int(share * min(photograph.width, photograph.height * SIZE[0] / SIZE[1]))
        height = int(width * SIZE[1] / SIZE[0])
        left = int(draw.integers(photograph.width - width + 1))
        top = int(draw.integers(photograph.height - height + 1))
        image = photograph.resize(SIZE, box=(left, top, left + width, top + height))
        split = "train" if number < count else "val"
        file = folder / split / f"class{number % classes}" / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, quality=QUALITY)
        sizes.append(file.stat().st_size)
    return sum(sizes) / len(sizes)
