"""The optimizer and the weights it decays."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch

from torch import nn, optim

from crate.config.schema import Adam, AdamW, Lion, Optimizer
from crate.config.target import call

# The configuration names lion-pytorch, whose updates are equal.
OURS = "crate.train.optimizers.lion.Lion"
FUSED = (Adam, AdamW)  # torch's, which then update a weight in one pass over it


def build_optimizer(config: Optimizer, model: nn.Module, decay_all: bool) -> optim.Optimizer:
    """Returns the configured optimizer; each group remembers its peak rate as `initial_lr`."""
    groups, extra = parameter_groups(model, config.weight_decay, decay_all), {}
    if type(config) is Lion and not config.is_own:
        config = replace(config, _target_=OURS)
    if type(config) in FUSED and not config.is_own:
        extra["fused"] = True
    optimizer = call(config, groups, **extra)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameter_groups(model: nn.Module, weight_decay: float, decay_all: bool) -> list[dict]:
    """Returns the trainable weights in groups with their decay.

    With `decay_all` every weight decays, as in the authors' script. Without it norms and biases
    do not (all weights of one dimension), nor what the model names in `no_weight_decay()`, which
    are the CLS token and the positions (in some of timm's models a pattern such as pos_embed.*).
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if decay_all:
        return [{"params": [weight for _, weight in named], "weight_decay": weight_decay}]
    kept = set(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else set()
    free = {name for name, w in named if w.ndim <= 1 or any(fnmatch(name, k) for k in kept)}
    groups = [
        {"params": [w for n, w in named if n not in free], "weight_decay": weight_decay},
        {"params": [w for n, w in named if n in free], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_lr(optimizer: optim.Optimizer, factor: float) -> float:
    """Sets every group to `factor` of its peak rate; returns the first group's rate."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["initial_lr"]
    return optimizer.param_groups[0]["lr"]
