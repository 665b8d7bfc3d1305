"""Fixtures for the tests of data."""

from __future__ import annotations

import pytest
from PIL import Image

SIZES = ((50, 37), (37, 50), (64, 64), (41, 90), (20, 15))  # (width, height), one below cache_px


@pytest.fixture
def photographs(tmp_path):
    """Return a folder of 2 classes x 5 + 4 images of several shapes, crops of a real photograph."""
    from sklearn.datasets import load_sample_images

    photograph = Image.fromarray(load_sample_images().images[0])
    for split, count in (("train", 10), ("val", 8)):
        for number in range(count):
            folder = tmp_path / "photographs" / split / f"class{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            width, height = SIZES[number % len(SIZES)]
            corner = 30 * number
            crop = photograph.crop((corner, corner, corner + 5 * width, corner + 4 * height))
            crop.resize((width, height)).save(folder / f"{number}.jpg", quality=85)
    return tmp_path / "photographs"
