"""One image file, whatever its kind, as eight-bit RGB.

grey, black and white   the value in all three channels
palette                 its colours
transparency            dropped: the colour below it counts, as in torchvision
CMYK                    converted as PIL does, as torchvision does (ImageNet has a few)
16 bits a channel       the upper eight of them; PIL reads 16-bit colour so by itself
EXIF orientation        applied: the image stands as it does in a viewer
several frames          the first
floats, 32-bit integers beyond 16 bits   refused: their range is unknown
"""

from __future__ import annotations

import os

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from crate.data.images.jpeg import decode_jpeg
from crate.errors import UserError

WHITE_16 = 65_535


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Returns an image file as RGB, upright; raises UserError that names the file."""
    try:
        if os.path.getsize(path) == 0:
            raise ValueError("it is empty")
        with Image.open(path) as image:
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:  # a decoder fails in its own way on each kind of damage
        text = str(error).splitlines()[0].replace(str(path), "it") if str(error) else repr(error)
        raise UserError(
            f"{path} cannot be read as an image: {text}",
            "a whole image file; or, of a folder, data.on_corrupt=skip, which leaves such out",
        ) from error


def read_pixels(path: str | os.PathLike[str]) -> np.ndarray:
    """Returns what `read_image` does, as (H, W, 3) uint8, and of most JPEG files in half the time.

    Raises UserError that names the file.
    """
    try:
        with open(path, "rb") as file:
            pixels = decode_jpeg(file.read())
    except OSError:
        pixels = None  # read_image says why
    return np.array(read_image(path)) if pixels is None else pixels


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Returns (H, W, C) as (C, H, W), a view of the same memory as torchvision's ToImage gives."""
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats, of no known range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > WHITE_16:
            raise ValueError("its pixels are 32-bit integers, of no known range")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
