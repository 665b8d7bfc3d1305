"""Draws as a function of numbers: one seed of several, and the three global generators."""

from __future__ import annotations

import random

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """Returns one well-mixed 63-bit seed of several numbers."""
    entropy = np.array(numbers, np.uint32) if max(numbers) < 2**32 else numbers  # sooner as such
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_generators(seed: int) -> None:
    """Seeds the global generators of torch (CPU), numpy and Python."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


class kept_generators:
    """Puts the global generators of torch (CPU), numpy and Python back on leaving."""

    def __enter__(self) -> None:
        self.states = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def __exit__(self, *exception: object) -> None:
        torch.set_rng_state(self.states[0])
        np.random.set_state(self.states[1])
        random.setstate(self.states[2])
