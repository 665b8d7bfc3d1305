"""The device and its arithmetic; `auto` is decided here once, when a run first starts."""

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
    """Return the device of a name; "auto" is the first GPU if there is one, otherwise the CPU.

    Each of several ranks uses the GPU with its local rank as number. Raise UserError for a device
    that does not exist, or that the ranks cannot share.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.size > 1 and name not in ("cpu", "cuda"):
        raise UserError(
            f"device={name} is for one rank, not {ranks.size}", "cuda, cpu", "device=auto"
        )
    if ranks.launcher and name == "cuda":
        name = f"cuda:{ranks.local_rank}"
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name not in available:
        names = ", ".join(["auto", *available])
        raise UserError(f"device={name} is not there", names, "device=auto")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """Return "bf16", "fp16" or "fp32"; "auto" is bf16 if the device computes in it natively."""
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
    """Return the scaler that keeps small fp16 gradients from vanishing; disabled otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def set_deterministic(on: bool) -> None:
    """Make torch refuse kernels whose results vary from call to call, if `on`."""
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(on)


def _cpu_has_bf16() -> bool:
    """Return whether the CPU has instructions for matrix products in bfloat16."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.cpu._is_avx512_bf16_supported()


def keep_freed_memory(device: torch.device) -> None:
    """Let a process that trains on a CPU keep freed memory for its next step.

    By default glibc returns large blocks to the system at once, which has to clear their pages
    again in the next step; that takes a tenth of the step. Other C libraries are left alone.
    """
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def hardware(device: torch.device) -> str:
    """Return the name that the maker gives to a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()
