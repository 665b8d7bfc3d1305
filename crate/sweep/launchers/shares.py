"""The share of this machine that each slot gets: a GPU and threads."""

from __future__ import annotations

import os
import shutil
import subprocess

from crate.run import provenance
from crate.sweep.options import Local


def environments(options: Local, number: int, *, on_cpu: bool) -> list[dict[str, str]]:
    """Return the environment variables that give each slot its share of the machine.

    There are at most `number` slots, one a run. With `on_cpu` no GPU is used. The OMP_NUM_THREADS
    of the caller applies unless the options name a number of threads.
    """
    gpus, cores = [] if on_cpu else _gpus(), provenance.cores()
    wanted = options.threads or options.cpus_per_task or int(os.environ.get("OMP_NUM_THREADS", 0))
    if gpus:
        gpus = [gpu for _ in range(options.runs_per_gpu) for gpu in gpus]
        slots = min(options.slots or len(gpus), len(gpus))
    else:
        slots = options.slots or max(1, cores // (wanted or 1))
    slots = min(slots, number)
    threads = wanted or max(1, cores // slots)
    shares = [{"OMP_NUM_THREADS": str(threads), "CRATE_CORES": str(threads)} for _ in range(slots)]
    for share, gpu in zip(shares, gpus, strict=False):
        share["CUDA_VISIBLE_DEVICES"] = gpu
    return shares


def _gpus() -> list[str]:
    """Return the GPUs that the caller may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(n) for n, _ in enumerate(x for x in listed.splitlines() if x.startswith("GPU "))]
