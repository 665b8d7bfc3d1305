"""The fast optimizers make the updates of the plain ones."""

from __future__ import annotations

import lion_pytorch
import pytest
import torch

from crate.config.check import typed
from crate.model import CRATE
from crate.train.optimizers.optimizer import build_optimizer, parameter_groups
from tests.launching import TINY

PLAIN = {
    "lion": (lion_pytorch.Lion, {}),
    "adamw": (torch.optim.AdamW, {"foreach": False}),
    "adam": (torch.optim.Adam, {"foreach": False}),
    "sgd": (torch.optim.SGD, {"foreach": False, "momentum": 0.9}),
}


def model():
    torch.manual_seed(0)
    return CRATE(16, 8, 1, 10, 16, 2, 2)


@pytest.mark.parametrize("name", PLAIN)
def test_100_updates_equal_the_plain_optimizers_to_1e_6(composed, name):
    config = typed(composed(*TINY, f"optimizer={name}", "optimizer.lr=1e-3")).optimizer
    ours, theirs = model(), model()
    kind, options = PLAIN[name]
    groups = parameter_groups(theirs, config.weight_decay, decay_all=False)
    plain = kind(groups, lr=config.lr, **options)
    fast = build_optimizer(config, ours, decay_all=False)
    draw = torch.Generator().manual_seed(1)
    for update in range(100):
        for optimizer in (fast, plain):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * (1 + update % 7)
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=draw) * 10.0 ** (update % 5 - 4)
            b.grad = a.grad.clone()
        if update % 3 == 0:  # a weight that the loss did not reach
            ours.head.bias.grad = theirs.head.bias.grad = None
        fast.step()
        plain.step()
    start = model()
    for a, b, c in zip(ours.parameters(), theirs.parameters(), start.parameters(), strict=True):
        assert (a - b).abs().max() <= 1e-6
        assert (a - c).abs().max() > 0.01, "it did move"


def test_lion_takes_over_the_state_of_lion_pytorch():
    ours, theirs = model(), model()
    plain = lion_pytorch.Lion(theirs.parameters(), lr=1e-3, weight_decay=0.5)
    for weight in theirs.parameters():
        weight.grad = torch.ones_like(weight)
    plain.step()
    from crate.train.optimizers.lion import Lion

    fast = Lion(ours.parameters(), lr=1e-3, weight_decay=0.5)
    fast.load_state_dict(plain.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        a.grad, b.grad = torch.full_like(a, -0.2), torch.full_like(b, -0.2)
    fast.step()
    plain.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
