"""The splits that task=evaluate reads: the training images only if an evaluator asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any


class LazySplits(Mapping[str, Any]):
    """The data sets "val", and "train", which `load_train` returns on first use."""

    def __init__(self, val: Any, load_train: Callable[[], Any]) -> None:
        self._val, self._load_train = val, load_train

    @cached_property
    def _train(self) -> Any:
        return self._load_train()

    def __getitem__(self, split: str) -> Any:
        if split not in self:
            raise KeyError(split)
        return self._val if split == "val" else self._train

    def __contains__(self, split: object) -> bool:
        return split in ("val", "train")

    def __iter__(self) -> Iterator[str]:
        return iter(("val", "train"))

    def __len__(self) -> int:
        return 2
