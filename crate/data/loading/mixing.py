"""Mixup and cutmix, which blend pairs of a batch: timm's, as a function of seed and step.

B images of the global batch, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor

from crate.config.schema import Augment
from crate.data.loading.seeds import kept_generators, mixed_seed


class Mixing(Mixup):
    """Blend image i of the global batch with image B-1-i; the middle of an odd batch stays."""

    def __init__(self, augment: Augment, num_classes: int, seed: int) -> None:
        super().__init__(augment.mixup, augment.cutmix, num_classes=num_classes)
        self.seed = seed

    def mix(
        self, images: Tensor, labels: Tensor, smoothing: float, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return a rank's share of the batch of `step`, blended in place, and its targets.

        images (b, C, H, W) float, labels (b,) -> targets (b, num_classes), whose rows sum to 1, or
        to 0 if the label is IDLE. Every rank draws the same: one kind, weight and box per step.
        """
        with kept_generators():
            np.random.seed(mixed_seed(self.seed, step) % 2**32)
            weight = self._mix_batch(images)
        counts = labels[:, None] >= 0
        answers = (labels[:, None] == torch.arange(self.num_classes, device=labels.device)).float()
        targets = weight * answers + (1 - weight) * answers.flip(0)
        return images, counts * ((1 - smoothing) * targets + smoothing / self.num_classes)


def mixing(augment: Augment, num_classes: int, seed: int) -> Mixing | None:
    """Return the mixing that the augmentation asks for, or None if it blends nothing."""
    return Mixing(augment, num_classes, seed) if augment.mixup or augment.cutmix else None
