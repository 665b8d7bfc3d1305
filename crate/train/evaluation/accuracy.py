"""The built-in evaluator: loss and accuracy, each image once, sums in float64."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crate.ranks import Ranks


@torch.inference_mode()
def accuracy(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], ranks: Ranks
) -> dict[str, float]:
    """Return loss (nats, without label smoothing), top1 and top5 (percent) over all ranks.

    With fewer than five classes top5 counts all of them.
    """
    loss = torch.zeros((), dtype=torch.float64)
    correct1 = correct5 = count = 0
    for images, labels in batches:
        logits = model(images).float()  # (B, classes)
        loss += F.cross_entropy(logits, labels, reduction="sum").double().cpu()
        ranked = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]  # (B, 5)
        correct1 += int(ranked[:, 0].sum())
        correct5 += int(ranked.any(dim=1).sum())
        count += len(labels)
    counts = [float(number) for number in (correct1, correct5, count)]
    sums = ranks.sum(torch.tensor([loss.item(), *counts], dtype=torch.float64)).tolist()
    total_loss, total1, total5, total = sums
    return {"loss": total_loss / total, "top1": 100 * total1 / total, "top5": 100 * total5 / total}
