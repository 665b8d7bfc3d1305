"""The processes that prepare images."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from crate.config.schema import Data
from crate.data.loading.seeds import kept_generators
from crate.errors import UserError
from crate.run import provenance

K_contra = TypeVar("K_contra", contravariant=True)
K = TypeVar("K")
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Items(Protocol[K_contra, T_co]):
    """Anything that makes an item of a key, such as a batch of its images' indices."""

    def __getitem__(self, key: K_contra, /) -> T_co: ...


def prepare(
    items: Items[K, T], keys: Iterable[K], workers: int, *, pin_memory: bool = False
) -> Iterator[T]:
    """Yield the item of each key, in order, prepared by worker processes (0: by this one).

    Preparing leaves the global generators of this process alone. Raise the UserError of an item
    when it is due.
    """
    loader: DataLoader[T | UserError] = DataLoader(
        _Caught(items),
        sampler=keys,
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=workers,
        worker_init_fn=ignore_signals,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # otherwise it draws from the run's own generator
    )
    iterator = iter(loader)
    try:
        while True:
            with nullcontext() if workers else kept_generators():
                item = next(iterator, None)
            if item is None:
                return
            if isinstance(item, UserError):
                raise item
            yield item
    finally:
        del iterator  # ends the workers, which an error's traceback would otherwise keep


class _Caught(Dataset[Any]):
    """Items whose UserError is returned: raised in a worker, it would arrive with a traceback."""

    def __init__(self, items: Items[K, T]) -> None:
        self.items: Items[Any, Any] = items

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.items[key]
        except UserError as error:
            return error


def _unchanged(item: T) -> T:
    return item  # complete, unlike the single images from which torch would make a batch


def num_workers(data: Data, local_size: int = 1) -> int:
    """Return the worker processes of each of `local_size` ranks: as configured, or one per core."""
    if data.workers is not None:
        return data.workers
    return max(1, provenance.cores() // local_size)


def ignore_signals(worker: int) -> None:
    """Leave signals to the main process, because a forked worker would handle them as well."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR2", "SIGCONT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
