"""How many tokens an image gives, and which patch sizes suit it."""

from __future__ import annotations

from itertools import product

from crate.config.schema import pair

MAX_TOKENS = 4096

Size = tuple[int, int]  # (height, width) in pixels


def divides(patch: Size, image: Size) -> bool:
    """Return whether an image is a whole number of patches high and wide."""
    return min(patch) > 0 and not (image[0] % patch[0] or image[1] % patch[1])


def num_tokens(patch: Size, image: Size) -> int:
    """Return the number of patches of an image and the class token."""
    return (image[0] // patch[0]) * (image[1] // patch[1]) + 1


def patch_sizes(
    image: Size, like: int | list[int], allow_long: bool = False
) -> list[int | list[int]]:
    """Return the patch sizes that cut an image into a sensible number of tokens, nearest first.

    `like` is the wanted patch size: a side for square patches, or a list [height, width]. Patches
    other than `like` are at most half as high and wide as the image, so that there are several.
    """
    near = pair(like)
    rows, columns = (range(1, max(2, side // 2 + 1)) for side in image)
    square = isinstance(like, int)
    sizes = zip(rows, columns, strict=False) if square else product(rows, columns)
    fits = [
        patch
        for patch in {*sizes, near}
        if divides(patch, image) and (allow_long or num_tokens(patch, image) <= MAX_TOKENS)
    ]
    fits.sort(key=lambda patch: (abs(patch[0] - near[0]) + abs(patch[1] - near[1]), patch))
    return [patch[0] if square else list(patch) for patch in fits]


def nearest_multiple(side: int, patch: int) -> int:
    """Return the whole multiple of a patch's side that is nearest to an image's side."""
    return max(1, round(side / patch)) * patch
