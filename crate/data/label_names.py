"""The names of a data set's classes."""

from __future__ import annotations

from crate.data.images.split import Split, whole


def label_names(images: Split, num_classes: int) -> list[str] | None:
    """Return the names of the classes in the order of their labels, or None if there are none.

    They are the attribute `classes` of a data set, as torchvision's data sets have it.
    """
    names = getattr(whole(images), "classes", None)
    if not isinstance(names, list | tuple) or len(names) != num_classes:
        return None
    return list(names) if all(isinstance(name, str) for name in names) else None
