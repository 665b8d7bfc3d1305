"""The weights of a run, and what updates them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from crate.train.checkpoints.content import Content

Part = nn.Module | optim.Optimizer | torch.amp.GradScaler


@dataclass(frozen=True)
class Learner:
    """A model with its optimizer, its loss scaler and the running mean of its weights, if any."""

    model: nn.Module
    optimizer: optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None = None

    def models(self) -> dict[str, nn.Module]:
        """Return what is evaluated, by the prefix of its metrics: the model and its mean."""
        return {"": self.model} if self.ema is None else {"": self.model, "ema_": self.ema}

    def state_dict(self) -> Content:
        """Return the state of each part by its name in a checkpoint."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, values: Content) -> None:
        """Restore each part from the values of a checkpoint."""
        for name, part in self._parts().items():
            part.load_state_dict(values[name])

    def _parts(self) -> dict[str, Part]:
        parts: dict[str, Part] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scaler": self.scaler,
        }
        return parts if self.ema is None else parts | {"ema": self.ema}


def running_mean(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return the exponential mean of a model's weights, whose buffers are the model's."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
