"""One update of the weights: the gradient of the global batch, then the optimizer's step.

Shapes: b images of this rank's share of the global batch, C channels of H x W pixels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from crate.config.schema import Train
from crate.train.hardware.compile import as_compiled
from crate.train.hardware.device import autocast
from crate.train.learner import Learner
from crate.train.setup import Setup


def backward(
    options: Train, setup: Setup, forward: nn.Module, images: Tensor, labels: Tensor, step: int
) -> Tensor:
    """Add the gradient of the global batch's mean loss; return this rank's part of that loss.

    images (b, C, H, W) uint8 and labels (b,), on the device, are this rank's share of the batch of
    `step`. They go through `forward`, the model as `Ranks.wrap` returns it, in
    `accumulation_steps` parts.
    """
    normalize, smoothing, targets = setup.images.normalize, options.label_smoothing, labels
    scaler, batch_length = setup.learner.scaler, setup.steps.batch_length(step)
    if setup.mixing is not None:
        images, targets = setup.mixing.mix(normalize(images), labels, smoothing, step)
        normalize, smoothing = nn.Identity(), 0.0
    parts = min(options.accumulation_steps, len(labels))
    loss_sum = torch.zeros((), device=setup.device)
    chunks = list(zip(images.chunk(parts), targets.chunk(parts), strict=True))
    is_full = batch_length == setup.steps.batch_size
    for number, (part, answers) in enumerate(chunks, 1):
        adds_up = number == len(chunks)  # the ranks exchange gradients once, after the last part
        with as_compiled(is_full), nullcontext() if adds_up else _alone(forward):
            with autocast(setup.device, setup.precision):
                logits = forward(normalize(part))  # (b / parts, classes)
            loss = F.cross_entropy(
                logits.float(), answers, label_smoothing=smoothing, reduction="sum"
            )
            loss = loss / batch_length
            # DDP averages the gradients of the ranks; the losses are parts of one mean.
            scaler.scale(loss * setup.ranks.size).backward()
        loss_sum += loss.detach()
    return loss_sum


def _alone(forward: nn.Module) -> AbstractContextManager[None]:
    """Return the context of a backward pass whose gradients are not exchanged between ranks."""
    return forward.no_sync() if isinstance(forward, DistributedDataParallel) else nullcontext()


def update(learner: Learner, clip_norm: float | None, measure: bool) -> Tensor | None:
    """Take the optimizer's step.

    Return the norm of the whole gradient before clipping, or None if there is neither clipping nor
    a norm to `measure`.
    """
    weights = [weight for weight in learner.model.parameters() if weight.grad is not None]
    norm = None
    if clip_norm is not None or measure:
        learner.scaler.unscale_(learner.optimizer)
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if clip_norm is not None:
            clip_grads_with_norm_(weights, clip_norm, norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.ema is not None:
        learner.ema.update_parameters(learner.model)
    return norm
