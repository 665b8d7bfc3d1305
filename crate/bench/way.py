"""What the bench measures: one form of a training step under one configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """A form of a model's training step ("ours", "textbook"), or a product of matrices ("matmul").

    `model` is an option of the group `model`; `overrides` are further overrides of the
    configuration. `threads` is the number of a process's threads; None leaves torch's.
    """

    form: str
    precision: str
    model: str = "crate_tiny"
    batch_size: int = 32
    device: str = "cpu"
    ranks: int = 1
    threads: int | None = None
    overrides: tuple[str, ...] = ()
