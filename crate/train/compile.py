"""Compiled layers: whether, of which, and where the compiled code is kept.

All layers of a model are alike, so one compiled layer serves them all; so does it every lambda and
eta, which are tensors. Compiled is the training step of a full batch. The last, smaller batch of an
epoch and evaluation run as they are: each would be compiled for itself and gain little.
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

# Compiling took 40 s on two cores and saves a tenth of each step there: this saves twice that.
PAYS_FROM_S = 900.0
# Floating-point operations a second of a training step, for an estimate: measured for bf16 on cores
# that compute in it (docs/results/speed.md); a GPU's is a guess on the safe side.
FLOPS_PER_CORE, FLOPS_PER_GPU = 1.2e11, 2e14
CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"
LAYERS = ("layers", "blocks")  # where CRATE and timm's transformers keep them


def decide(
    config: Config, device: torch.device, num_images: int, decided: str | None = None
) -> tuple[bool, str]:
    """Returns whether to compile the layers, and why in words.

    `num_images` are those of an epoch, `decided` is what "auto" became when the run first started.
    Raises UserError where the layers are to be compiled and cannot be.
    """
    asked, obstacle = config.train.compile, _obstacle(device)
    if asked != "auto" or decided:
        is_on = (decided if asked == "auto" else asked) == "on"
        if is_on and obstacle:
            raise UserError(f"train.compile=on, and {obstacle}", "off", "train.compile=off")
        return is_on, "as asked for" if asked != "auto" else "as when the run first started"
    flops = cost(config).forward_flops
    if flops is None:
        return False, "what a step of this model costs is not known"
    rate = FLOPS_PER_GPU if device.type == "cuda" else FLOPS_PER_CORE * cores()
    seconds = 3 * flops * num_images * config.train.epochs / rate
    if seconds < PAYS_FROM_S:
        return False, f"some {seconds:.0f} s of training would not pay it back"
    if obstacle:
        return False, obstacle
    return True, f"some {seconds / 3600:.1f} h of training pay it back"


def _obstacle(device: torch.device) -> str | None:
    """Returns what keeps torch.compile from working on a device, if anything."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "compiling for a GPU needs Triton, which is not there"
    if device.type != "cpu":
        return f"compiling is not supported on {device.type}"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"there is no C++ compiler {compiler}"


def compile_layers(model: nn.Module, outputs: str) -> None:
    """Has each layer of `model` compiled when it is first trained; the weights keep their names.

    The code is kept below `outputs`, apart by processor and version, for all later runs, unless
    TORCHINDUCTOR_CACHE_DIR says where. A model without layers is compiled as a whole.
    """
    named = os.environ.get(CACHE_DIR)
    if named is None or _is_torchs_default(Path(named)):  # torch names its own on being imported
        key = hashlib.sha256(f"{cpu_name()} {torch.__version__}".encode()).hexdigest()[:12]
        os.environ[CACHE_DIR] = str(Path(outputs, "compiled", key))
    for layer in next((getattr(model, name) for name in LAYERS if hasattr(model, name)), [model]):
        layer.compile(dynamic=False)


def _is_torchs_default(folder: Path) -> bool:
    return folder.parent == Path(gettempdir()) and folder.name.startswith("torchinductor_")


def as_compiled(on: bool) -> AbstractContextManager[None]:
    """Returns the context of a training step; with `on` False compiled layers run as they are."""
    return nullcontext() if on else torch.compiler.set_stance("force_eager")
