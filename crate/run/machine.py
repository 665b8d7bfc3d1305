"""The GPUs of this machine, as far as they are known without torch."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

from crate.errors import UserError

AMD = Path("/dev/kfd")  # of the ROCm driver, whose GPUs torch also calls "cuda"


@cache
def num_gpus() -> int | None:
    """Return the number of GPUs that the CUDA driver offers this process; None if unknown.

    The driver respects CUDA_VISIBLE_DEVICES. torch finds fewer if the driver is too old for it.
    """
    if AMD.exists():
        return None
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    is_there = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if is_there else 0


def device_errors(device: str, ranks: int = 1, local_ranks: int = 1) -> list[UserError]:
    """Return the reasons why `ranks` processes cannot train on `device`.

    `local_ranks` of the processes are on this machine. Even if the list is empty, torch may still
    refuse the device.
    """
    if ranks > 1 and device not in ("auto", "cpu", "cuda"):
        return [
            UserError(f"device={device} is for one rank, not {ranks}", "cuda, cpu", "device=auto")
        ]
    there = ["auto", "cpu"] + ["mps"] * (sys.platform == "darwin")
    if device in there and (local_ranks == 1 or device != "auto"):
        return []
    if (gpus := num_gpus()) is None:
        return []
    there += ["cuda"] * (gpus > 0) + [f"cuda:{index}" for index in range(gpus)]
    if device not in there:
        why = "" if gpus else ", and CUDA offers no GPU"
        return [UserError(f"device={device} is not there{why}", ", ".join(there), "device=auto")]
    if 0 < gpus < local_ranks:
        return [
            UserError(
                f"{local_ranks} ranks on a machine of {gpus} GPU(s)",
                "a GPU for each rank, or all on the CPU",
                f"torchrun --nproc_per_node={gpus} launch.py ..., or device=cpu",
            )
        ]
    return []
