"""The fast decoder of JPEG files reads and refuses what PIL does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from crate.data.images.image import read_image, read_pixels
from crate.errors import UserError


def encoded(image, **options):
    return lambda path: image().save(path, "JPEG", **options)


def picture(mode="RGB", size=(67, 45)):
    from sklearn.datasets import load_sample_images

    return Image.fromarray(load_sample_images().images[1]).resize(size).convert(mode)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(path, "JPEG", exif=exif)


def upright_with_exif(path):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    picture().save(path, "JPEG", exif=exif)


KINDS = {
    "4:2:0": encoded(picture, subsampling=2),
    "4:2:2": encoded(picture, subsampling=1),
    "4:4:4": encoded(picture, subsampling=0),
    "progressive": encoded(picture, progressive=True),
    "grey": encoded(lambda: picture("L")),
    "cmyk": encoded(lambda: picture("CMYK")),
    "one pixel": encoded(lambda: picture(size=(1, 1))),
    "turned": turned,
    "upright": upright_with_exif,
    "png": lambda path: picture().save(path, "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_decoder_reads_what_pil_reads_bit_for_bit(tmp_path, kind):
    KINDS[kind](tmp_path / "image.jpg")
    assert np.array_equal(read_pixels(tmp_path / "image.jpg"), read_image(tmp_path / "image.jpg"))


@pytest.mark.parametrize("end", [2, 100, 400])
def test_the_fast_decoder_refuses_what_pil_refuses(tmp_path, end):
    path = tmp_path / "image.jpg"
    KINDS["4:2:0"](path)
    path.write_bytes(path.read_bytes()[:-end])
    messages = []
    for read in (read_image, read_pixels):
        try:
            messages.append(np.asarray(read(path)).tobytes())
        except UserError as error:
            messages.append(str(error))
    assert messages[0] == messages[1]
