"""Which device and which arithmetic: `auto` is decided here, once, where a run first starts."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from crate.errors import UserError
from crate.ranks import Ranks
from crate.run.provenance import cpu_name

SINGLE = Ranks()
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def resolve_device(name: str, ranks: Ranks = SINGLE) -> torch.device:
    """Returns the device of a name; "auto" is the first GPU, else the CPU.

    Each of several ranks has the GPU of its own number. Raises UserError for a device that is not
    there, or that the ranks cannot share.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.size > 1 and name not in ("cpu", "cuda"):
        raise UserError(
            f"device={name} is for one rank, not {ranks.size}", "cuda, cpu", "device=auto"
        )
    if ranks.launcher and name == "cuda":
        name = f"cuda:{ranks.local_rank}"
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name not in there:
        raise UserError(f"device={name} is not there", ", ".join(["auto", *there]), "device=auto")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """Returns "bf16", "fp16" or "fp32"; "auto" is bf16 where the device computes in it natively."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def autocast(
    device: torch.device, precision: str, *, enabled: bool = True, cache: bool = True
) -> AbstractContextManager[None]:
    """Return the context of a forward pass.

    With `cache` false no weight is kept in low precision, so that weights may change inside; with
    `enabled` false an outer autocast is off.
    """
    if precision == "fp32":
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype, enabled=enabled, cache_enabled=cache)


def loss_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Returns what keeps the small gradients of fp16 from vanishing; it does nothing else where."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def set_deterministic(on: bool) -> None:
    """Makes torch refuse kernels whose results vary from call to call."""
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(on)


def _cpu_has_bf16() -> bool:
    """Tells whether matrix products in bfloat16 run on the CPU's own instructions."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.cpu._is_avx512_bf16_supported()


def keep_freed_memory(device: torch.device) -> None:
    """Has a process that trains on a CPU keep the memory it frees, for its next step.

    The C library gives large blocks back at once, and the system clears each page of theirs again
    in the next step: a tenth of it. Other C libraries than glibc do as they do.
    """
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def hardware(device: torch.device) -> str:
    """Returns the name of a device as its maker gives it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()
