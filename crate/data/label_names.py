"""The names of a data set's classes."""

from __future__ import annotations

from typing import Any


def label_names(images: Any, num_classes: int) -> list[str] | None:
    """Return the names of the classes in the order of their labels, or None if nothing tells them.

    They are the attribute `classes` of a data set, as torchvision's data sets have it.
    """
    whole = getattr(images, "dataset", images)  # of a Subset
    names = getattr(whole, "classes", None)
    is_named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return list(names) if is_named and len(names) == num_classes else None
