"""JPEG decoding with libjpeg-turbo directly: twice as fast as PIL, and bit for bit the same.

PIL decodes everything else: other formats, colour spaces other than YCbCr and grey, images that
EXIF may turn, and files that libjpeg complains about, so that one place decides what is refused.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

try:
    import simplejpeg
except ImportError:  # slower, and the same images
    simplejpeg = None

START = b"\xff\xd8\xff"
ORIENTATION = 0x0112  # the tag of EXIF
MAY_BE_TURNED = (b"Exif\0", b"http://ns.adobe.com/xap/")  # where PIL looks for an orientation


def decode_jpeg(content: bytes) -> np.ndarray | None:
    """Return a JPEG file as RGB (H, W, 3), uint8, or None if PIL has to decode it."""
    if simplejpeg is None or not content.startswith(START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in ("YCbCr", "Gray") or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        if any(mark in content for mark in MAY_BE_TURNED) and _is_turned(content):
            return None
        return simplejpeg.decode_jpeg(content, "RGB")
    except Exception:  # even for a warning of libjpeg: PIL finds the error, or decodes the image
        return None


def _is_turned(content: bytes) -> bool:
    """Return whether PIL would turn the image, which is opened and not decoded."""
    with Image.open(BytesIO(content)) as image:
        return image.getexif().get(ORIENTATION, 1) != 1
