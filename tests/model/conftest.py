"""The three reference cases of the authors' implementation, as fixtures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from crate.model import CRATE
from crate.model.official import convert

FOLDER = Path(__file__).parents[1] / "reference"
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))
POOLS = {"cls": "token", "mean": "avg"}


@dataclass
class Reference:
    """The numbers that the authors' code computes for one small float64 model."""

    config: dict
    arrays: dict[str, np.ndarray]

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return every array below a prefix, under the authors' names."""
        keys = [key for key in self.arrays if key.startswith(prefix)]
        return {key.removeprefix(prefix): self[key].clone() for key in keys}

    @property
    def arguments(self) -> dict:
        """Return the configuration of the case, as arguments of CRATE."""
        config = self.config
        return {
            "img_size": config["image_size"],
            "patch_size": config["patch_size"],
            "num_classes": config["num_classes"],
            "embed_dim": config["dim"],
            "depth": config["depth"],
            "num_heads": config["heads"],
            "head_dim": config["dim_head"],
            "global_pool": POOLS[config.get("pool", "cls")],
            "step_size": config["ista"],
            "sparsity": config["sparsity"],
        }


def read(case: str) -> Reference:
    with np.load(FOLDER / f"{case}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return Reference(json.loads(str(arrays.pop("config"))), arrays)


def with_timm(**arguments) -> nn.Module:
    return timm.create_model("crate_tiny_patch16_224", **arguments)


@pytest.fixture(params=CASES)
def reference(request) -> Reference:
    return read(request.param)


@pytest.fixture
def cls_reference() -> Reference:
    return read("cls_pool")


@pytest.fixture(params=[CRATE, with_timm], ids=["class", "timm"])
def model(request, reference: Reference) -> nn.Module:
    """Return our model with the weights of the reference, built by the class and by timm."""
    build: Callable[..., nn.Module] = request.param
    model = build(**reference.arguments).double()
    model.load_state_dict(convert(reference.under("state_dict/")))
    return model
