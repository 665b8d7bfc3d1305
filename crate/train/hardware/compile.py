"""Compiled layers: whether to compile, which layers, and where the compiled code is kept.

All layers of a model are alike, so the code of one layer serves all of them, and also every lambda
and eta, which are tensors. Only the training step of a full batch is compiled. The smaller last
batch of an epoch and evaluations run without: each would need its own compilation and gain little.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import gettempdir

import torch
from torch import nn

from crate.config.schema import Config
from crate.cost import cost
from crate.errors import UserError
from crate.run.provenance import cores, cpu_name

# Compiling took 40 s on two cores and saves a tenth of each step; a run of 900 s saves twice that.
PAYS_FROM_S = 900.0
# Floating-point operations per second of a training step, for an estimate. The rate of a core is
# measured in bf16 (docs/results/speed.md); that of a GPU is a cautious guess.
FLOPS_PER_CORE, FLOPS_PER_GPU = 1.2e11, 2e14
CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"
LAYERS = ("layers", "blocks")  # where CRATE and timm's transformers keep them


def decide(
    config: Config, device: torch.device, num_images: int, decided: str | None = None
) -> tuple[bool, str]:
    """Return whether to compile the layers, and the reason in words.

    `num_images` is the number per epoch; `decided` is what "auto" became when the run first
    started. Raise UserError if the layers should be compiled and cannot be.
    """
    asked, obstacle = config.train.compile, _obstacle(device)
    if asked != "auto" or decided:
        is_on = (decided if asked == "auto" else asked) == "on"
        if is_on and obstacle:
            raise UserError(f"train.compile=on, and {obstacle}", "off", "train.compile=off")
        return is_on, "as asked for" if asked != "auto" else "as when the run first started"
    flops = cost(config).forward_flops
    if flops is None:
        return False, "the cost of a step of this model is unknown"
    rate = FLOPS_PER_GPU if device.type == "cuda" else FLOPS_PER_CORE * cores()
    seconds = 3 * flops * num_images * config.train.epochs / rate
    if seconds < PAYS_FROM_S:
        return False, f"some {seconds:.0f} s of training would not pay it back"
    if obstacle:
        return False, obstacle
    return True, f"some {seconds / 3600:.1f} h of training pay it back"


def _obstacle(device: torch.device) -> str | None:
    """Return why torch.compile cannot work on a device, or None."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "compiling for a GPU needs Triton, which is not installed"
    if device.type != "cpu":
        return f"compiling is not supported on {device.type}"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"there is no C++ compiler {compiler}"


def compile_layers(model: nn.Module, outputs: str) -> None:
    """Let each layer of `model` be compiled in its first training step.

    The weights keep their names. The code is kept for later runs below `outputs`, by processor and
    version of torch, or in TORCHINDUCTOR_CACHE_DIR. A model without layers is compiled as a whole.
    """
    folder = os.environ.get(CACHE_DIR)
    if folder is None or _is_torchs_default(Path(folder)):  # importing torch sets its default
        key = hashlib.sha256(f"{cpu_name()} {torch.__version__}".encode()).hexdigest()[:12]
        os.environ[CACHE_DIR] = str(Path(outputs, "compiled", key))
    for layer in next((getattr(model, name) for name in LAYERS if hasattr(model, name)), [model]):
        layer.compile(dynamic=False)


def _is_torchs_default(folder: Path) -> bool:
    return folder.parent == Path(gettempdir()) and folder.name.startswith("torchinductor_")


def as_compiled(on: bool) -> AbstractContextManager[None]:
    """Return the context of a forward pass; with `on` false, compiled layers run uncompiled."""
    return nullcontext() if on else torch.compiler.set_stance("force_eager")
