"""JPEG files like ImageNet's, of real photographs, where no data set is at hand."""

from __future__ import annotations

from pathlib import Path

SIZE = (500, 375)  # the commonest of ImageNet
QUALITY = 90


def write_photographs(folder: Path, count: int, classes: int = 10) -> float:
    """Writes `folder`/{train,val}/<class>/*.JPEG, `count` in train/, and as many more in val/ as
    there are classes; returns their mean size in bytes.

    They are different crops, 500 x 375, of scikit-learn's and scikit-image's photographs.
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
        left = draw.integers(photograph.width - width + 1)
        top = draw.integers(photograph.height - height + 1)
        image = photograph.resize(SIZE, box=(left, top, left + width, top + height))
        split = "train" if number < count else "val"
        place = folder / split / f"class{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number}.JPEG", quality=QUALITY)
        sizes.append((place / f"{number}.JPEG").stat().st_size)
    return sum(sizes) / len(sizes)
