"""Exact evaluation: each image once, sums in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crate.data.loading.prefetch import on_device
from crate.errors import UserError
from crate.ranks import Ranks, until_error
from crate.train.compile import as_compiled
from crate.train.device import SINGLE, autocast


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    normalize: nn.Module,
    *,
    device: torch.device,
    precision: str,
    ranks: Ranks = SINGLE,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Returns loss (nats, without label smoothing), top1 and top5 (percent) over all ranks.

    With fewer than five classes top-5 counts all of them. None when a rank was `interrupted`
    between two batches. Raises on all ranks a UserError that the data of one raised.
    """
    was_training = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64)
    correct1 = correct5 = count = breaks = 0
    errors: list[UserError] = []
    for images, labels in until_error(on_device(batches, device), errors):
        if interrupted():
            breaks = 1
            break
        with as_compiled(False), autocast(device, precision):
            logits = model(normalize(images))  # (B, C)
        logits = logits.float()
        loss += F.cross_entropy(logits, labels, reduction="sum").double().cpu()
        ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]  # (B, 5)
        correct1 += int(ranked[:, 0].sum())
        correct5 += int(ranked.any(dim=1).sum())
        count += len(labels)
    model.train(was_training)
    ranks.agree(errors)
    counts = [float(number) for number in (correct1, correct5, count, breaks)]
    sums = ranks.sum(torch.tensor([loss.item(), *counts], dtype=torch.float64))
    loss, correct1, correct5, count, breaks = sums.tolist()
    if breaks:
        return None
    return {"loss": loss / count, "top1": 100 * correct1 / count, "top5": 100 * correct5 / count}
