"""One update of the weights: the gradient of the global batch, then the optimizer's step.

B images of the global batch, b of them this rank's share, C classes.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crate.config.schema import Train
from crate.train.compile import as_compiled
from crate.train.device import autocast
from crate.train.setup import Setup


def backward(
    options: Train, setup: Setup, forward: nn.Module, images: Tensor, labels: Tensor, step: int
) -> Tensor:
    """Adds the gradient of the global batch's mean loss; returns this rank's part of that loss.

    images (b, C, H, W) uint8 and labels (b,), on the device, are the share of this rank in the
    batch of `step`; they go through `forward`, the model as the ranks share it, in
    `accumulation_steps` parts.
    """
    normalize, smoothing, targets = setup.normalize, options.label_smoothing, labels
    if setup.mixing is not None:
        images, targets = setup.mixing.mix(normalize(images), labels, smoothing, step)
        normalize, smoothing = nn.Identity(), 0.0
    parts = min(options.accumulation_steps, len(labels))
    loss_sum = torch.zeros((), device=setup.device)
    chunks = list(zip(images.chunk(parts), targets.chunk(parts), strict=True))
    is_full = setup.batch_length(step) == setup.batch_size
    for number, (part, answers) in enumerate(chunks, 1):
        is_last = setup.ranks.size == 1 or number == len(chunks)
        # the ranks add up once
        with as_compiled(is_full), nullcontext() if is_last else forward.no_sync():
            with autocast(setup.device, setup.precision):
                logits = forward(normalize(part))  # (b / parts, classes)
            loss = F.cross_entropy(
                logits.float(), answers, label_smoothing=smoothing, reduction="sum"
            )
            loss = loss / setup.batch_length(step)
            # The ranks' gradients are averaged, and the losses are parts of one mean.
            setup.scaler.scale(loss * setup.ranks.size).backward()
        loss_sum += loss.detach()
    return loss_sum


def update(setup: Setup, clip_norm: float | None, measure: bool) -> Tensor | None:
    """Takes the optimizer's step; returns the gradient's norm where it clips or is to `measure`.

    The norm is that before clipping.
    """
    weights = [weight for weight in setup.model.parameters() if weight.grad is not None]
    norm = None
    if clip_norm is not None or measure:
        setup.scaler.unscale_(setup.optimizer)
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights])
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(weights, clip_norm, norm)
    setup.scaler.step(setup.optimizer)
    setup.scaler.update()
    setup.optimizer.zero_grad(set_to_none=True)
    if setup.ema is not None:
        setup.ema.update_parameters(setup.model)
    return norm
