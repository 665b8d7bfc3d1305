"""The root of the tree, and the nodes that belong to no group: training and the sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import II, MISSING

from crate.config.schema.augment import Augment
from crate.config.schema.data import Data
from crate.config.schema.field import option
from crate.config.schema.model import Model
from crate.config.schema.objective import Objective
from crate.config.schema.optimizer import Optimizer
from crate.config.schema.schedule import Schedule
from crate.config.schema.tracker import Tracker

PRECISIONS = {  # what other programs call these precisions
    "fp64": "fp32",
    "float64": "fp32",
    "double": "fp32",
    "32": "fp32",
    "float32": "fp32",
    "full": "fp32",
    "float": "fp32",
    "tf32": "fp32",
    "16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
}


@dataclass
class Sweep:
    """An ablation; `sweeps/NAME.yaml` holds one."""

    name: str = option(MISSING, "name of the file", identity=False)
    question: str = option(MISSING, "question that the sweep answers", identity=False)
    grid: dict[str, Any] = option({}, "key -> values; all are combined", identity=False)
    zip: dict[str, Any] = option({}, "key -> values; taken together, in order", identity=False)
    exclude: list[dict[str, Any]] = option([], "points left out: key -> value", identity=False)
    seeds: list[int] = option([0], "seeds of every point", identity=False)
    baseline: dict[str, Any] = option({}, "point that the others are compared with", identity=False)
    metric: str | None = option(
        None, "logged metric to compare; null: the objective of the runs", identity=False
    )
    published: list[dict[str, Any]] = option(
        [], "published results: swept values and the metric", identity=False
    )
    source: str | None = option(
        None, "publication and model of the published results", identity=False
    )


@dataclass
class Train:
    """How a model is trained."""

    epochs: int = option(II("data.suggested.epochs"), "passes over the training split", at_least=1)
    batch_size: int = option(
        II("data.suggested.batch_size"), "images per update, over all devices", at_least=1
    )
    accumulation_steps: int = option(
        1, "parts in which a batch is computed, to save memory", identity=False, at_least=1
    )
    clip_norm: float | None = option(
        None, "largest norm of the gradient; null: no clipping", neutral=None, above=0
    )
    ema: float | None = option(
        None,
        "decay of a moving average of the weights, which is also evaluated; null: none",
        neutral=None,
        above=0,
        below=1,
    )
    label_smoothing: float = option(0.1, "label smoothing", at_least=0, below=1)
    decay_all: bool = option(
        True, "decay all weights, as the authors do; false: not norms, biases, CLS, positions"
    )
    log_every_steps: int = option(
        10, "steps between two training log lines", identity=False, at_least=1
    )
    checkpoint_every_steps: int | None = option(
        None, "steps between two checkpoints; null: only by time", identity=False, at_least=1
    )
    checkpoint_every_min: float = option(
        5.0, "minutes between two checkpoints", identity=False, above=0
    )
    keep: int = option(2, "newest checkpoints kept", identity=False, at_least=1)
    compile: str = option(
        "auto",
        "compile the layers; auto: if the run is long enough to gain from it",
        identity=False,
        choices=("auto", "on", "off"),
    )
    recompute: bool = option(
        False,
        "store only the input of each layer and recompute the rest in the backward pass",
        identity=False,
    )
    profile: int | None = option(
        None, "steps to trace, to find the largest costs; null: none", identity=False, at_least=1
    )


@dataclass
class Config:
    """One run."""

    task: str = option(
        "train", "what to do: an option of the group, or a module of your own", identity=False
    )
    seed: int = option(
        0,
        "seed of all random draws: weights, order, augmentation",
        at_least=0,
        at_most=2**64 - 1,
    )
    deterministic: bool = option(False, "refuse nondeterministic kernels", neutral=False)
    precision: str = option(
        "auto",
        "precision of the forward pass",
        choices=("auto", "fp32", "bf16", "fp16"),
        slips=PRECISIONS,
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda, cuda:N or mps",
        identity=False,
        choices=("auto", "cpu", "cuda", "cuda:N", "mps"),
        slips={"gpu": "cuda", "nvidia": "cuda", "metal": "mps"},
    )
    ranks: int | None = option(
        None,
        "processes that must train together; null: any number",
        identity=False,
        at_least=1,
    )
    resume: str = option(
        "auto",
        "auto: continue an unfinished run; never: set it aside and start again",
        identity=False,
        choices=("auto", "never"),
    )
    rerun: bool = option(False, "set a run aside, finished or not, and train again", identity=False)
    other_code: str = option(
        "ask",
        "if the code of a finished run, yours included, has changed: ask, accept its result, or "
        "rerun (set it aside and train again)",
        identity=False,
        choices=("ask", "accept", "rerun"),
    )
    other_data: str = option(
        "ask",
        "if the image files of a finished run have changed: ask, accept its result, or rerun "
        "(set it aside and train again)",
        identity=False,
        choices=("ask", "accept", "rerun"),
    )
    init_from: str | None = option(
        None,
        "checkpoint with the weights to start from; its content counts, not its path",
        identity=False,
        path=True,
    )
    checkpoint: str | None = option(
        None, "checkpoint to evaluate or export", identity=False, path=True
    )
    export_to: str | None = option(
        None,
        "folder to export to; null: <checkpoint>-export next to the checkpoint",
        identity=False,
        path=True,
    )
    sweep: Sweep | None = option(None, "the ablation a run belongs to", identity=False)
    name: str | None = option(
        None, "name of a sweep; null: that of its file, or the swept keys", identity=False
    )
    outputs: str = option("outputs", "folder of the run folders", identity=False, path=True)
    objective: Objective = field(
        default_factory=Objective, metadata={"help": "metric that decides what is best"}
    )
    train: Train = field(default_factory=Train, metadata={"help": "how to train"})
    model: Model = field(default_factory=Model, metadata={"help": "the model"})
    optimizer: Optimizer = field(default_factory=Optimizer, metadata={"help": "the optimizer"})
    data: Data = field(default_factory=Data, metadata={"help": "the data set"})
    schedule: Schedule = field(default_factory=Schedule, metadata={"help": "learning rate"})
    augment: Augment = field(default_factory=Augment, metadata={"help": "augmentation"})
    evaluators: dict[str, Any] = option(  # of `Evaluator` nodes, once checked
        {}, "measurements of your own: name -> {_target_, split, every_epochs, kwargs}", neutral={}
    )
    tracker: Tracker = field(
        default_factory=Tracker, metadata={"help": "where metrics go", "identity": False}
    )
