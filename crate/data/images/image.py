"""Image files of any kind, read as eight-bit RGB.

grey, black and white   the value in all three channels
palette                 its colours
transparency            dropped; the colour stays, as in torchvision
CMYK                    converted as PIL does, as torchvision does (ImageNet has a few)
16 bits a channel       the upper eight, as PIL reads 16-bit colour
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
    """Return an image file as RGB, upright.

    Raise UserError, which names the file, if it cannot be read.
    """
    try:
        if os.path.getsize(path) == 0:
            raise ValueError("it is empty")
        with Image.open(path) as image:
            image.load()
            return _rgb(ImageOps.exif_transpose(image))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise any error for a damaged file
        text = str(error).splitlines()[0].replace(str(path), "it") if str(error) else repr(error)
        raise UserError(
            f"{path} cannot be read as an image: {text}",
            "a whole image file; data.on_corrupt=skip leaves unreadable images of a folder out",
        ) from error


def read_pixels(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the image of `read_image` as an array (H, W, 3), uint8.

    It takes half the time for most JPEG files. Raise UserError, which names the file, if it cannot
    be read.
    """
    try:
        with open(path, "rb") as file:
            pixels = decode_jpeg(file.read())
    except OSError:
        pixels = None  # read_image raises the error
    return np.array(read_image(path)) if pixels is None else pixels


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return an array (H, W, C) as a tensor (C, H, W), a view as from torchvision's ToImage."""
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
