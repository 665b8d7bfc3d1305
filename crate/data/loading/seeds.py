"""Draws as a function of numbers: one seed from several, and the three global generators."""

from __future__ import annotations

import random
from itertools import permutations

import numpy as np
import torch

DATA_SEED = 0  # of the draws of a data set when it is made, and of an image in evaluation
_LEFT, _RIGHT, _HALF = np.uint32(0xCA01F9DD), np.uint32(0x4973F715), np.uint32(16)


def mixed_seed(*numbers: int) -> int:
    """Return one well-mixed 63-bit seed from several numbers."""
    entropy = (
        np.array(numbers, np.uint32) if max(numbers) < 2**32 else numbers
    )  # an array is faster
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def mixed_seeds(seed: int, epochs: list[int], indices: list[int]) -> list[int]:
    """Return `mixed_seed(seed, epoch, index)` of each image, for a whole batch at once.

    This is the arithmetic of numpy's SeedSequence, which numpy promises to keep, on arrays: a call
    for each image takes longer than drawing its crop.
    """
    if max(seed, *epochs, *indices) >= 2**32:
        return [mixed_seed(seed, *each) for each in zip(epochs, indices, strict=True)]
    hashed = _Hash(0x43B0D7E5, 0x931E8875)
    numbers = np.array([[seed] * len(indices), epochs, indices, [0] * len(indices)], np.uint32)
    pool = [hashed(words) for words in numbers]  # 4 x (B,)
    for source, target in permutations(range(4), 2):
        pool[target] = pool[target] * _LEFT - hashed(pool[source]) * _RIGHT
        pool[target] ^= pool[target] >> _HALF
    hashed = _Hash(0x8B51F9DD, 0x58F38DED)
    low, high = (hashed(words).astype(np.uint64) for words in pool[:2])
    return ((high << np.uint64(32) | low) >> np.uint64(1)).tolist()


class _Hash:
    """The hash of 32-bit words of SeedSequence, whose constant changes with each call."""

    def __init__(self, constant: int, factor: int) -> None:
        self.constant, self.factor = constant, factor

    def __call__(self, words: np.ndarray) -> np.ndarray:
        words = words ^ np.uint32(self.constant)
        self.constant = self.constant * self.factor % 2**32
        words *= np.uint32(self.constant)
        return words ^ words >> _HALF


def seed_generators(seed: int) -> None:
    """Seed the global generators of torch (CPU), numpy and Python."""
    torch.default_generator.manual_seed(seed)
    seed_others(seed)


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch (every device), numpy and Python."""
    torch.manual_seed(seed)
    seed_others(seed)


def seed_others(seed: int) -> None:
    """Seed the global generators of numpy and Python, but not of torch."""
    np.random.seed(seed % 2**32)
    random.seed(seed)


class kept_generators:
    """Restore the global generators of torch (CPU), numpy and Python on leaving."""

    def __enter__(self) -> None:
        self.states = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def __exit__(self, *exception: object) -> None:
        torch.set_rng_state(self.states[0])
        np.random.set_state(self.states[1])
        random.setstate(self.states[2])
