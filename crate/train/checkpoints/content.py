"""The content of a checkpoint file."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]  # tensors and plain values by name; whoever reads a value checks it


def weights_of_ema(values: Content) -> Content | None:
    """Return the running mean of the weights that a checkpoint holds, or None.

    best.pt stores it by the model's own names, other checkpoints as the state of an AveragedModel.
    """
    if not isinstance(values.get("ema"), dict):
        return None
    weights = {name.removeprefix("module."): weight for name, weight in values["ema"].items()}
    weights.pop("n_averaged", None)
    return weights
