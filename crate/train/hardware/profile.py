"""A trace of a few training steps, and their three largest costs by name."""

from __future__ import annotations

import logging
import os

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from crate.ranks import Ranks
from crate.run.folder import RunFolder

logger = logging.getLogger("crate")
WARMUP_STEPS = 3


class NoProfile:
    """A profile of nothing."""

    def __enter__(self) -> NoProfile:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def step(self) -> None:
        pass


def profiler(
    num_steps: int | None, folder: RunFolder, ranks: Ranks, device: torch.device
) -> profile | NoProfile:
    """Return a context whose `step` ends a step; it traces `num_steps` after three of warm-up.

    Only rank 0 traces. The trace is written to `trace.json.gz`, for Perfetto or chrome://tracing,
    and the three largest costs are logged.
    """
    if num_steps is None or not ranks.is_first:
        return NoProfile()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu

    def finish(trace: profile) -> None:
        path = folder.path / "trace.json.gz"
        temporary = path.with_name(f".{os.getpid()}.trace.json.gz")
        trace.export_chrome_trace(str(temporary))
        os.replace(temporary, path)
        costs = largest_costs(trace, on_gpu)
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in costs.items())
        logger.info("largest costs: %s; trace: %s", shares, path)

    steps = schedule(wait=0, warmup=WARMUP_STEPS, active=num_steps, repeat=1)
    return profile(activities=activities, schedule=steps, on_trace_ready=finish)


def largest_costs(trace: profile, on_gpu: bool) -> dict[str, float]:
    """Return the three operations that took most time, largest first, with their shares of it.

    The time is the GPU's if `on_gpu`, otherwise the processor's.
    """
    time = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    costs = {event.key: getattr(event, time) for event in trace.key_averages()}
    costs = {name: cost for name, cost in costs.items() if not name.startswith("ProfilerStep")}
    total = sum(costs.values()) or 1
    largest = sorted(costs, key=costs.__getitem__, reverse=True)[:3]
    return {name: costs[name] / total for name in largest}
