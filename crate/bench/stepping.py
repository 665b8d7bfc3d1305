"""A way of making training steps, in processes of its own: its memory and settings are its own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from crate.errors import UserError

FORMS = ("ours", "textbook", "matmul")
MATMUL_SIDE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Way:
    """What to measure: a form of a model's training step, or a product of square matrices.

    `model` is an option of that group, `overrides` are further ones of the configuration.
    """

    form: str
    precision: str
    model: str = "crate_tiny"
    batch_size: int = 32
    device: str = "cpu"
    ranks: int = 1
    threads: int | None = None
    overrides: tuple[str, ...] = ()


class Stepper:
    """The processes of a way, one a rank; each waits until it is its turn."""

    def __init__(self, way: Way) -> None:
        self.way, self._pipes, self._processes = way, [], []
        context, port = get_context("spawn"), _free_port() if way.ranks > 1 else None
        for rank in range(way.ranks):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(way, rank, port, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.flops: float = self._answers()[0]  # of one step

    def run(self, steps: int) -> float:
        """Returns the seconds of a step, the mean over `steps`, and of the slowest rank."""
        return max(self._ask(("run", steps)))

    def largest_costs(self, steps: int) -> dict[str, float]:
        """Returns the three operations that most of `steps` went to, and their shares."""
        return self._ask(("profile", steps))[0]

    def finish(self) -> float:
        """Ends the processes; returns the most memory that one of them held (1e9 bytes)."""
        peak = max(self._ask(None))
        for process in self._processes:
            process.join()
        return peak

    def _ask(self, order: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send(order)
        return self._answers()

    def _answers(self) -> list[Any]:
        answers = []
        for pipe in self._pipes:
            try:
                answers.append(pipe.recv())
            except EOFError:
                raise UserError(f"a process of {self.way} ended by itself; see above") from None
        for answer in answers:
            if isinstance(answer, UserError):
                raise answer
        return answers


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _serve(way: Way, rank: int, port: int | None, pipe: Connection) -> None:
    if port is not None:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(way.ranks), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    import torch

    from crate.ranks import Ranks
    from crate.train.profile import largest_costs
    from crate.train.record import peak_memory_gb

    if way.threads is not None:
        torch.set_num_threads(way.threads)
    device = torch.device(way.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    try:
        with Ranks.detect().joined(way.device):
            step, flops = _product(way, device) if way.form == "matmul" else _training(way, device)
            step()
            pipe.send(flops)
            while (order := pipe.recv()) is not None:
                what, steps = order
                wait()
                if what == "profile":
                    with torch.profiler.profile() as trace:
                        for _ in range(steps):
                            step()
                        wait()
                    pipe.send(largest_costs(trace, device.type == "cuda"))
                    continue
                started = time.perf_counter()
                for _ in range(steps):
                    step()
                wait()
                pipe.send((time.perf_counter() - started) / steps)
            pipe.send(peak_memory_gb(device))
    except UserError as error:
        pipe.send(error)


def _product(way: Way, device: Any) -> tuple[Callable[[], Any], float]:
    """Returns a product of two square matrices, and its floating-point operations."""
    import torch

    side = MATMUL_SIDE[device.type]
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[way.precision]
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    return lambda: a @ b, 2.0 * side**3


def _training(way: Way, device: Any) -> tuple[Callable[[], Any], float]:
    """Returns a training step on random images, and the operations of its matrix products.

    These are counted as ours needs them, whatever the form spends; see `crate.cost`.
    """
    import torch

    from crate.bench.textbook import textbook, training_step
    from crate.cost import cost
    from crate.data.transforms import Normalize
    from crate.ranks import Ranks
    from crate.train import setup
    from crate.train.step import backward, update

    config = configuration(way)
    ranks = Ranks.detect()
    height, width = setup.pair(config.data.img_size)
    share = (way.batch_size // ranks.size, 3, height, width)
    images = torch.randint(0, 256, share, dtype=torch.uint8, device=device)
    labels = torch.randint(0, config.data.num_classes, share[:1], device=device)
    flops = 3 * way.batch_size * cost(config).forward_flops
    if way.form == "textbook":
        model = textbook(setup.build_model(config, device))
        options = config.optimizer.lr, config.optimizer.weight_decay, config.train.label_smoothing
        theirs = training_step(model, way.precision, *options)
        floats = Normalize(config.data.mean, config.data.std).to(device)(images)
        return lambda: theirs(floats, labels), flops
    built = setup.build(config, {}, ranks)
    forward = ranks.wrap(built.learner.model)

    def ours() -> None:
        backward(config.train, built, forward, images, labels, 0)
        update(built.learner, config.train.clip_norm, measure=False)

    return ours, flops


def configuration(way: Way) -> Any:
    """Returns the typed configuration of a way: ours as it ships, on 224 px unless said."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from crate.config import schema
    from crate.config.check import typed
    from crate.paths import CONF

    schema.register()
    overrides = [f"model={way.model}", "data=imagefolder", "data.root=/", "optimizer=adamw"]
    overrides += [f"train.batch_size={way.batch_size}", f"precision={way.precision}"]
    overrides += [f"device={way.device}", f"train.compile={_compiles(way)}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[*overrides, *way.overrides])
    noise = {"_target_": f"{__name__}.Noise", "kwargs": {"num_images": 1000 * way.batch_size}}
    shape = {"img_size": cfg.data.img_size, "in_chans": 3, "num_classes": 1000}
    suggested = OmegaConf.to_container(cfg.data.suggested)
    cfg.data = OmegaConf.merge(
        OmegaConf.structured(schema.Data),
        noise | shape | {"mean": cfg.data.mean, "std": cfg.data.std, "suggested": suggested},
    )
    return typed(cfg)


def _compiles(way: Way) -> str:
    return "on" if way.form == "ours" else "off"


class Noise:
    """As many images as asked for, which nobody reads."""

    def __init__(self, split: str, num_images: int) -> None:
        self.num_images = num_images

    def __len__(self) -> int:
        return self.num_images
