"""The optimizer and the weights it decays."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

from torch import nn, optim

from crate.config.schema import Adam, AdamW, Lion, Optimizer
from crate.config.target import call
from crate.train.optimizers import lion

# The configuration names lion-pytorch, whose updates are equal.
OURS = f"{lion.__name__}.Lion"
FUSED = (Adam, AdamW)  # torch updates each weight in a single pass


def build_optimizer(config: Optimizer, model: nn.Module, decay_all: bool) -> optim.Optimizer:
    """Return the configured optimizer; each group stores its peak rate as `initial_lr`."""
    groups, extra = parameter_groups(model, config.weight_decay, decay_all), {}
    if type(config) is Lion and not config.is_own:
        config = replace(config, _target_=OURS)
    if type(config) in FUSED and not config.is_own:
        extra["fused"] = True
    optimizer: optim.Optimizer = call(config, groups, **extra)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameter_groups(
    model: nn.Module, weight_decay: float, decay_all: bool
) -> list[dict[str, Any]]:
    """Return the trainable weights in groups with their decay.

    With `decay_all` every weight decays, as in the authors' script. Otherwise norms and biases (all
    weights of one dimension) do not decay, nor do those that the model names in
    `no_weight_decay()`: the CLS token and the positions, in some models of timm as a pattern such
    as `pos_embed.*`.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if decay_all:
        return [{"params": [weight for _, weight in named], "weight_decay": weight_decay}]
    named_by_model: set[str] = getattr(model, "no_weight_decay", set)()
    free = {
        name
        for name, weight in named
        if weight.ndim <= 1 or any(fnmatch(name, pattern) for pattern in named_by_model)
    }
    decayed = [weight for name, weight in named if name not in free]
    others = [weight for name, weight in named if name in free]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_lr(optimizer: optim.Optimizer, factor: float) -> float:
    """Set every group to `factor` of its peak rate; return the rate of the first group."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["initial_lr"]
    return float(optimizer.param_groups[0]["lr"])
