"""Optimizers: Lion, Adam, AdamW, SGD, and the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from crate.config.schema.field import Target, option


@dataclass
class Optimizer(Target):
    """Base of all optimizers; the user's own is called as `_target_(groups, lr=lr, **kwargs)`.

    `groups` are parameter groups, each with its `weight_decay`.
    """

    lr: float = option(MISSING, "peak learning rate", above=0)
    weight_decay: float = option(MISSING, "weight decay", at_least=0, argument=False)


@dataclass
class Lion(Optimizer):
    """Lion (decoupled weight decay), from lion-pytorch."""

    _target_: str = option("lion_pytorch.Lion", "the optimizer's class")
    betas: list[float] = option(
        [0.9, 0.99], "the two momentum factors", length=2, at_least=0, below=1
    )


@dataclass
class Adam(Optimizer):
    """Adam (weight decay added to the gradient), from torch."""

    _target_: str = option("torch.optim.Adam", "the optimizer's class")
    betas: list[float] = option(
        [0.9, 0.999], "the two moment factors", length=2, at_least=0, below=1
    )
    eps: float = option(1e-8, "term added to the denominator", above=0)


@dataclass
class AdamW(Adam):
    """AdamW (decoupled weight decay), from torch."""

    _target_: str = option("torch.optim.AdamW", "the optimizer's class")


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent, from torch."""

    _target_: str = option("torch.optim.SGD", "the optimizer's class")
    momentum: float = option(0.9, "momentum factor", at_least=0, below=1)
    nesterov: bool = option(False, "Nesterov's form of momentum")
