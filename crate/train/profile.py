"""A trace of a few training steps, and their three largest costs by name."""

from __future__ import annotations

import logging
import os
from typing import Any

from torch.profiler import ProfilerActivity, profile, schedule

from crate.run.folder import RunFolder
from crate.train.setup import Setup

logger = logging.getLogger("crate")
WARMUP_STEPS = 3


class NoProfile:
    """Profiles nothing."""

    def __enter__(self) -> NoProfile:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def step(self) -> None:
        pass


def profiler(num_steps: int | None, folder: RunFolder, setup: Setup) -> Any:
    """Returns a context whose `step` ends a step; it traces `num_steps` after three of warm-up.

    Writes `trace.json.gz`, for Perfetto or chrome://tracing, and says the three largest costs.
    Only rank 0 traces.
    """
    if num_steps is None or not setup.ranks.is_first:
        return NoProfile()
    on_gpu = setup.device.type == "cuda"
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
    """Returns the three operations that most time went to, largest first, and their shares of it.

    On a GPU that is its own time, else the processor's.
    """
    time = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    costs = {event.key: getattr(event, time) for event in trace.key_averages()}
    costs = {name: cost for name, cost in costs.items() if not name.startswith("ProfilerStep")}
    whole = sum(costs.values()) or 1
    return {
        name: costs[name] / whole for name in sorted(costs, key=costs.__getitem__, reverse=True)[:3]
    }
