"""The states of the global random number generators, as a checkpoint stores them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from crate.data.loading.seeds import seed_everything
from crate.train.checkpoints.content import Content


def generator_states() -> Content:
    """Return the state of every global random number generator as tensors and plain values."""
    version, numbers, gauss = random.getstate()
    name, keys, *position = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *position],
        "python": [version, list(numbers), gauss],
    }


def set_generator_states(states: Content) -> None:
    """Restore every global generator to a state that `generator_states` returned."""
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *position = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Start every global generator from `seed`; on leaving, restore the states from before."""
    states = generator_states()
    seed_everything(seed)
    try:
        yield
    finally:
        set_generator_states(states)
