"""The forms of a training step: ours, the textbook's, and a product of matrices beside them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from crate.bench.textbook import textbook, training_step
from crate.bench.way import Way
from crate.config import schema
from crate.config.check import typed
from crate.cost import cost
from crate.data.transforms import Normalize
from crate.errors import UserError
from crate.model import CRATE
from crate.paths import CONF
from crate.ranks import Ranks
from crate.train import setup
from crate.train.step import backward, update

MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Step = Callable[[], object]


def step_of(way: Way, device: torch.device) -> tuple[Step, float]:
    """Return a function that makes one step, and the FLOPs of its matrix products.

    The FLOPs of a training step are those that our form needs, for either form; see `crate.cost`.
    """
    if way.form == "matmul":
        return _product(way, device)
    config = configuration(way)
    forward_flops = cost(config).forward_flops
    if forward_flops is None:
        raise UserError(f"--models {way.model}: the FLOPs of this model are unknown", "CRATE, ViT")
    flops = 3 * way.batch_size * forward_flops
    return (_textbook if way.form == "textbook" else _ours)(way, config, device), flops


def _product(way: Way, device: torch.device) -> tuple[Step, float]:
    """Return a product of two square matrices, and its FLOPs."""
    side, dtype = MATMUL_SIDE[device.type], DTYPES[way.precision]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b, 2.0 * side**3


def _textbook(way: Way, config: schema.Config, device: torch.device) -> Step:
    """Return the textbook's training step on random images."""
    images, labels = _batch(way, config, device)
    model = setup.build_model(config, device)
    if not isinstance(model, CRATE):
        raise UserError(f"--models {way.model}: the textbook's form is CRATE's", "crate_*")
    optimizer = config.optimizer
    assert isinstance(optimizer, schema.AdamW)
    options = optimizer.lr, optimizer.weight_decay, config.train.label_smoothing
    step = training_step(textbook(model), way.precision, *options)
    floats = Normalize(config.data.mean, config.data.std).to(device)(images)
    return lambda: step(floats, labels)


def _ours(way: Way, config: schema.Config, device: torch.device) -> Step:
    """Return our training step on random images."""
    images, labels = _batch(way, config, device)
    ranks = Ranks.detect()
    built = setup.build(config, {}, ranks)
    forward = ranks.wrap(built.learner.model)

    def step() -> None:
        backward(config.train, built, forward, images, labels, 0)
        update(built.learner, config.train.clip_norm, measure=False)

    return step


def _batch(
    way: Way, config: schema.Config, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return this rank's share of a batch: uint8 images (b, 3, H, W) and labels (b,)."""
    share = way.batch_size // Ranks.detect().size
    num_classes = config.data.num_classes
    assert num_classes is not None  # `configuration` sets it
    shape = (share, 3, *schema.pair(config.data.img_size))
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    return images, torch.randint(0, num_classes, (share,), device=device)


def configuration(way: Way) -> schema.Config:
    """Return the typed configuration of a way: the defaults, on 224 px unless overridden."""
    schema.register()
    overrides = [f"model={way.model}", "data=imagefolder", "data.root=/", "optimizer=adamw"]
    overrides += [f"train.batch_size={way.batch_size}", f"precision={way.precision}"]
    overrides += [f"device={way.device}", f"train.compile={'on' if way.form == 'ours' else 'off'}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[*overrides, *way.overrides])
    noise = {"_target_": f"{__name__}.Noise", "kwargs": {"num_images": 1000 * way.batch_size}}
    shape = {"img_size": cfg.data.img_size, "in_chans": 3, "num_classes": 1000}
    values = {"mean": cfg.data.mean, "std": cfg.data.std}
    values["suggested"] = OmegaConf.to_container(cfg.data.suggested)
    cfg.data = OmegaConf.merge(OmegaConf.structured(schema.Data), noise | shape | values)
    return typed(cfg)


class Noise:
    """A data set of `num_images` images that no step reads."""

    def __init__(self, split: str, num_images: int) -> None:
        self.num_images = num_images

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        raise NotImplementedError("a bench makes its own batches")
