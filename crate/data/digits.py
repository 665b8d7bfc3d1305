"""scikit-learn's digits: 1,797 real handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor


class Digits:
    """Images (1, 8, 8), uint8, and labels of one split.

    The splits are stratified and fixed: 1,437 images to train, 360 to evaluate.
    """

    classes = tuple("0123456789")

    def __init__(self, split: str) -> None:
        digits = load_digits()
        images = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        train, val = train_test_split(
            range(len(images)), test_size=0.2, stratify=digits.target, random_state=0
        )
        chosen = {"train": train, "val": val}[split]
        self.images = images[chosen]
        self.labels = digits.target[chosen].tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]
