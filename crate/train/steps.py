"""How many steps a run has, and what each of them is: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from crate.data.loading import batches


@dataclass(frozen=True)
class Steps:
    """The steps of a run over `num_images` images; step s is the s-th update, from 0."""

    num_images: int
    batch_size: int
    epochs: int

    @property
    def per_epoch(self) -> int:
        """Steps that give each image once; the last may have a smaller batch."""
        return batches.steps_per_epoch(self.num_images, self.batch_size)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.per_epoch

    def batch_length(self, step: int) -> int:
        """Return the number of images in the global batch of `step`."""
        return batches.batch_length(self.num_images, self.batch_size, step)

    def ends_epoch(self, num_steps: int) -> bool:
        """Return whether the last of the first `num_steps` steps was the last of an epoch."""
        return num_steps > 0 and num_steps % self.per_epoch == 0

    def epoch(self, num_steps: int) -> int:
        """Return the number of epochs that are complete after `num_steps` steps."""
        return num_steps // self.per_epoch
