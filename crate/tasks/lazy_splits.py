"""The splits that task=evaluate reads: the training images only if an evaluator asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from crate.data.images.split import Split


class LazySplits(Mapping[str, Split]):
    """The data sets "val", and "train", which `load_train` returns on first use."""

    def __init__(self, val: Split, load_train: Callable[[], Split]) -> None:
        self._val, self._load_train = val, load_train

    @cached_property
    def _train(self) -> Split:
        return self._load_train()

    def __getitem__(self, split: str) -> Split:
        if split not in self:
            raise KeyError(split)
        return self._val if split == "val" else self._train

    def __contains__(self, split: object) -> bool:
        return split in ("val", "train")

    def __iter__(self) -> Iterator[str]:
        return iter(("val", "train"))

    def __len__(self) -> int:
        return 2
