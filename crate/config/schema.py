"""The typed tree of a configuration: the only place of defaults.

Every field says what it is (`help`), whether it can change a run's result and so belongs to the
run's identity (`identity`), the value at which it counts as absent from that identity
(`neutral`), and what it may be. YAML files under `conf/` hold only what differs from here.

A node with a `_target_` is built by calling that target with the node's own fields and `kwargs`.
A user's own node is typed by the base class, so it has `_target_`, `kwargs` and the base's fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import II, MISSING, DictConfig, OmegaConf

NO_NEUTRAL = object()
TASKS = ("train", "evaluate", "export")


def option(
    default: Any,
    help: str,
    *,
    identity: bool = True,
    neutral: Any = NO_NEUTRAL,
    argument: bool = True,
    choices: tuple[str, ...] | None = None,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    length: int | None = None,
    size: bool = False,
    path: bool = False,
) -> Any:
    """Returns a dataclass field with its documentation and its rules in the metadata.

    `argument=False` keeps a field of a node with a `_target_` from being passed to the target;
    `size=True` admits a positive int or a pair (height, width); `length` is that of a list;
    `path=True` is found from the checkout when relative.
    """
    metadata = dict(locals())
    default = metadata.pop("default")
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Target:
    """Something built by calling `_target_`."""

    _target_: str = option(MISSING, "dotted name of the class or function to call")
    kwargs: dict[str, Any] = option({}, "further arguments of the target", neutral={})


# --- model -----------------------------------------------------------------------------------


@dataclass
class Model(Target):
    """Base of all models; a user's own is called as `_target_(**kwargs)`."""


@dataclass
class Transformer(Model):
    """What CRATE and ViT share; image facts come from the data."""

    img_size: Any = option(II("data.img_size"), "image side in pixels, or (h, w)", size=True)
    in_chans: int = option(II("data.in_chans"), "image channels", at_least=1)
    num_classes: int = option(II("data.num_classes"), "number of classes", at_least=1)
    patch_size: Any = option(
        II("data.suggested.patch_size"), "patch side in pixels, or (h, w)", size=True
    )
    embed_dim: int = option(MISSING, "token dimension d", at_least=1)
    depth: int = option(MISSING, "number of layers", at_least=1)
    num_heads: int = option(MISSING, "number of heads (subspaces) K", at_least=1)
    global_pool: str = option("token", "what the head reads", choices=("token", "avg"))
    allow_long: bool = option(False, "admit more than 4,096 tokens", identity=False, argument=False)


@dataclass
class CRATE(Transformer):
    """The white-box transformer; see `crate.model.CRATE`."""

    _target_: str = option("crate.model.CRATE", "the model's class")
    head_dim: int | None = option(
        None, "dimension p of a subspace; null: embed_dim / num_heads", at_least=1
    )
    step_size: float = option(0.1, "eta, step size of ISTA", above=0)
    sparsity: float = option(0.1, "lambda, weight of the l1 term in ISTA", at_least=0)


@dataclass
class ViT(Transformer):
    """timm's vision transformer, the baseline under the same recipe."""

    _target_: str = option("timm.models.vision_transformer.VisionTransformer", "the model's class")


# --- optimizer -------------------------------------------------------------------------------


@dataclass
class Optimizer(Target):
    """Base of all optimizers; a user's own is called as `_target_(groups, lr=lr, **kwargs)`.

    `groups` are parameter groups that carry their own `weight_decay`.
    """

    lr: float = option(MISSING, "peak learning rate", above=0)
    weight_decay: float = option(MISSING, "weight decay", at_least=0, argument=False)


@dataclass
class Lion(Optimizer):
    """Lion (decoupled weight decay), from lion-pytorch."""

    _target_: str = option("lion_pytorch.Lion", "the optimizer's class")
    betas: list[float] = option(
        [0.9, 0.99], "the two momentum factors", length=2, at_least=0, below=1
    )


@dataclass
class Adam(Optimizer):
    """Adam (weight decay added to the gradient), from torch."""

    _target_: str = option("torch.optim.Adam", "the optimizer's class")
    betas: list[float] = option(
        [0.9, 0.999], "the two moment factors", length=2, at_least=0, below=1
    )
    eps: float = option(1e-8, "term added to the denominator", above=0)


@dataclass
class AdamW(Adam):
    """AdamW (decoupled weight decay), from torch."""

    _target_: str = option("torch.optim.AdamW", "the optimizer's class")


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent, from torch."""

    _target_: str = option("torch.optim.SGD", "the optimizer's class")
    momentum: float = option(0.9, "momentum factor", at_least=0, below=1)
    nesterov: bool = option(False, "Nesterov's form of momentum")


# --- data ------------------------------------------------------------------------------------


@dataclass
class Suggested:
    """What a data set suggests to the other groups; nothing reads it but interpolations."""

    patch_size: Any = option(16, "patch side in pixels", identity=False, size=True)
    epochs: int = option(100, "epochs of training", identity=False, at_least=1)
    batch_size: int = option(256, "global batch", identity=False, at_least=1)
    warmup_epochs: float = option(5, "epochs of warm-up", identity=False, at_least=0)


@dataclass
class Data(Target):
    """Base of all data sets; a user's own is called as `_target_(split=..., **kwargs)`.

    The call returns an indexable of (image, label) for split "train" or "val"; an image is a PIL
    image or a uint8 tensor (C, H, W), a label an int in [0, num_classes).
    """

    img_size: Any = option(MISSING, "side in pixels that the model sees", size=True, argument=False)
    in_chans: int = option(MISSING, "image channels", at_least=1, argument=False)
    num_classes: int | None = option(
        MISSING, "number of classes; null: counted", at_least=1, argument=False
    )
    mean: list[float] = option([0.5], "a channel's mean, of values in [0, 1]", argument=False)
    std: list[float] = option([0.5], "a channel's standard deviation", above=0, argument=False)
    crop_pct: float = option(
        1.0, "share of the resized shorter side kept by evaluation", above=0, argument=False
    )
    val_fraction: float = option(
        0.0,
        "share of the training split set apart to choose the best by; 0: none",
        neutral=0,
        at_least=0,
        below=1,
        argument=False,
    )
    workers: int | None = option(
        None,
        "loader processes a rank; null: one a core, 0: none",
        identity=False,
        at_least=0,
        argument=False,
    )
    suggested: Suggested = field(
        default_factory=Suggested,
        metadata={"help": "suggestions to other groups", "identity": False, "argument": False},
    )


@dataclass
class Digits(Data):
    """scikit-learn's 1,797 real digits, inside the package."""

    _target_: str = option("crate.data.digits.Digits", "the data set's class")


@dataclass
class Downloadable(Data):
    """A published set that torchvision downloads where it is missing."""

    root: str | None = option(
        None,
        "the set's folder; null: CRATE_DATA/<name>, else data/<name>",
        path=True,
        identity=False,
    )
    download: bool = option(
        True, "download the set where it is missing; false: an error then", identity=False
    )


@dataclass
class FashionMNIST(Downloadable):
    """Fashion-MNIST from its four idx files, gzipped or not."""

    _target_: str = option("crate.data.fashion_mnist.FashionMNIST", "the data set's class")


@dataclass
class CIFAR10(Downloadable):
    """CIFAR-10: 50,000 + 10,000 images of 32 x 32 pixels in ten classes."""

    _target_: str = option("crate.data.downloaded.CIFAR10", "the data set's class")


@dataclass
class CIFAR100(Downloadable):
    """CIFAR-100: 50,000 + 10,000 images of 32 x 32 pixels in a hundred classes."""

    _target_: str = option("crate.data.downloaded.CIFAR100", "the data set's class")


@dataclass
class Flowers(Downloadable):
    """Oxford Flowers-102: its train split (1,020) and its test split (6,149)."""

    _target_: str = option("crate.data.downloaded.Flowers", "the data set's class")


@dataclass
class Pets(Downloadable):
    """Oxford-IIIT Pets: trainval (3,680) and test (3,669), 37 breeds."""

    _target_: str = option("crate.data.downloaded.Pets", "the data set's class")


@dataclass
class Folder(Data):
    """Images in `root`/{train,val}/<class>/, or in the parts train.X1, train.X2, ... and val.X."""

    _target_: str = option("crate.data.folder.Folder", "the data set's class")
    root: str | None = option(
        MISSING,
        "folder with train/ and val/; null, for a published set: CRATE_DATA/<name>, "
        "else data/<name>",
        identity=False,
        path=True,
    )
    published: str | None = option(
        None,
        "name of a published set, which then identifies it; null: the files do",
        argument=False,
    )
    on_corrupt: str = option(
        "error",
        "an unreadable image is an error, or left out by a check of all before training (skip)",
        neutral="error",
        choices=("error", "skip"),
    )


# --- schedule, augmentation, tracker ---------------------------------------------------------


@dataclass
class Schedule(Target):
    """Base of all schedules; a user's own is called as
    `_target_(total_steps=..., steps_per_epoch=..., **kwargs)` and returns a function from the
    step to a factor of the learning rate.
    """


@dataclass
class Cosine(Schedule):
    """Linear warm-up, then cosine to zero, per step."""

    _target_: str = option("crate.train.schedule.cosine", "the schedule's function")
    warmup_epochs: float = option(
        II("data.suggested.warmup_epochs"), "epochs of linear warm-up", at_least=0
    )


@dataclass
class AuthorsSchedule(Schedule):
    """The authors' factor, set once per epoch."""

    _target_: str = option("crate.train.schedule.authors", "the schedule's function")
    warmup_epochs: int = option(20, "epochs of warm-up in their formula", at_least=1)


@dataclass
class Augment(Target):
    """Base of all augmentations; a user's own is called as `_target_(img_size=(h, w), **kwargs)`.

    It returns a function from an image to an image of that size, drawing from torch's,
    numpy's or Python's global generator, each seeded per image.
    """

    mixup: float = option(
        0.0, "alpha of mixup over the global batch; 0: off", neutral=0, at_least=0, argument=False
    )
    cutmix: float = option(
        0.0, "alpha of cutmix over the global batch; 0: off", neutral=0, at_least=0, argument=False
    )


@dataclass
class NoAugment(Augment):
    """Training images are prepared as evaluation images are."""

    _target_: str = option("crate.data.transforms.no_augment", "the augmentation's function")


@dataclass
class FlipCrop(Augment):
    """Random resized crop and horizontal flip, the paper's."""

    _target_: str = option("crate.data.transforms.flip_crop", "the augmentation's function")
    min_scale: float = option(0.08, "smallest share of the area cropped", above=0)
    flip_prob: float = option(0.5, "probability of a horizontal flip", at_least=0)


@dataclass
class RandAugment(FlipCrop):
    """Random resized crop, flip, then operations drawn at one strength: the fine-tuner's."""

    _target_: str = option("crate.data.transforms.randaugment", "the augmentation's function")
    num_ops: int = option(2, "n, operations an image", at_least=0)
    magnitude: int = option(14, "m, strength of each, of 0 to 30", at_least=0, below=31)
    fill: int = option(0, "grey value of the pixels that move in", at_least=0, below=256)


@dataclass
class TrivialAugment(FlipCrop):
    """Random resized crop, flip, then one operation of a strength drawn for each image."""

    _target_: str = option("crate.data.transforms.trivialaugment", "the augmentation's function")
    fill: int = option(0, "grey value of the pixels that move in", at_least=0, below=256)


@dataclass
class Tracker(Target):
    """Base of all trackers; metrics.jsonl is written whatever is chosen.

    A user's own is called as `_target_(**kwargs)` and has the methods of
    `crate.tracking.Tracker`.
    """

    _target_: str = option(MISSING, "dotted name of the tracker's class", identity=False)
    kwargs: dict[str, Any] = option({}, "its arguments", identity=False)


@dataclass
class Wandb(Tracker):
    """Weights & Biases, by a process of its own; see `crate.tracking.wandb`."""

    _target_: str = option("crate.tracking.wandb.Wandb", "the tracker's class", identity=False)
    project: str = option("crate", "wandb's project", identity=False)
    entity: str | None = option(None, "wandb's user or team; null: its default", identity=False)
    mode: str = option(
        "auto",
        "auto: online where there is a key and the server answers, else offline",
        identity=False,
        choices=("auto", "online", "offline"),
    )
    group: str | None = option(None, "runs that belong together", identity=False)
    job_type: str | None = option(None, "kind of run; null: the task", identity=False)
    tags: list[str] = option([], "words to find the run by", identity=False)
    name: str | None = option(None, "the run's name; null: its folder's label", identity=False)
    swept: dict[str, Any] = option({}, "what a sweep varies, by key", identity=False)
    published: dict[str, Any] = option({}, "the published results of the point", identity=False)
    queue_size: int = option(
        10_000, "rows that wait for wandb; more are dropped", identity=False, at_least=1
    )
    finish_timeout_s: float = option(
        60.0, "seconds that the end of the run waits for wandb at most", identity=False, above=0
    )


@dataclass
class TensorBoard(Tracker):
    """TensorBoard's event files."""

    _target_: str = option(
        "crate.tracking.tensorboard.TensorBoard", "the tracker's class", identity=False
    )


# --- sweep ------------------------------------------------------------------------------------


@dataclass
class Sweep:
    """An ablation; `sweeps/NAME.yaml` holds one."""

    name: str = option(MISSING, "name of the file", identity=False)
    question: str = option(MISSING, "what the sweep is to answer", identity=False)
    grid: dict[str, Any] = option({}, "key -> its values, crossed", identity=False)
    zip: dict[str, Any] = option({}, "key -> its values, one by one together", identity=False)
    exclude: list[dict[str, Any]] = option([], "points left out: key -> value", identity=False)
    seeds: list[int] = option([0], "seeds of every point", identity=False)
    baseline: dict[str, Any] = option({}, "the point to compare with", identity=False)
    metric: str = option("val/top1", "what is compared", identity=False)
    published: list[dict[str, Any]] = option(
        [], "published results: swept values and the metric", identity=False
    )
    source: str | None = option(
        None, "of what, and where, those results were published", identity=False
    )


# --- training and the root -------------------------------------------------------------------


@dataclass
class Train:
    """How a model is trained."""

    epochs: int = option(II("data.suggested.epochs"), "passes over the training split", at_least=1)
    batch_size: int = option(
        II("data.suggested.batch_size"), "images per update, over all devices", at_least=1
    )
    accumulation_steps: int = option(
        1, "parts a batch is computed in, to save memory", identity=False, at_least=1
    )
    clip_norm: float | None = option(
        None, "largest norm of the gradient; null: no clipping", neutral=None, above=0
    )
    ema: float | None = option(
        None,
        "decay of a running mean of the weights, evaluated beside them; null: none",
        neutral=None,
        above=0,
        below=1,
    )
    label_smoothing: float = option(0.1, "label smoothing", at_least=0, below=1)
    decay_all: bool = option(
        True, "decay every weight, as the authors; false: no norms, biases, CLS, positions"
    )
    log_every_steps: int = option(
        10, "steps between two training log lines", identity=False, at_least=1
    )
    checkpoint_every_steps: int | None = option(
        None, "steps between two checkpoints; null: by time alone", identity=False, at_least=1
    )
    checkpoint_every_min: float = option(
        5.0, "minutes between two checkpoints", identity=False, above=0
    )
    keep: int = option(2, "newest checkpoints kept", identity=False, at_least=1)
    profile: int | None = option(
        None, "steps to trace and name the costs of; null: none", identity=False, at_least=1
    )


@dataclass
class Config:
    """One run."""

    task: str = option("train", "what to do", identity=False, choices=TASKS)
    seed: int = option(0, "seed of weights, order and augmentation", at_least=0)
    deterministic: bool = option(False, "refuse nondeterministic kernels", neutral=False)
    precision: str = option(
        "auto", "arithmetic of the forward pass", choices=("auto", "fp32", "bf16", "fp16")
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps", identity=False)
    ranks: int | None = option(
        None,
        "processes that have to train together; null: those there are",
        identity=False,
        at_least=1,
    )
    resume: str = option(
        "auto",
        "auto: go on with an unfinished run; never: set it aside and start anew",
        identity=False,
        choices=("auto", "never"),
    )
    rerun: bool = option(False, "set a run aside, finished or not, and train anew", identity=False)
    other_code: str = option(
        "ask",
        "what a run finished by another version of the package counts as",
        identity=False,
        choices=("ask", "accept", "rerun"),
    )
    init_from: str | None = option(
        None, "checkpoint whose weights training starts from", identity=False, path=True
    )
    checkpoint: str | None = option(
        None, "checkpoint to evaluate or export", identity=False, path=True
    )
    export_to: str | None = option(
        None,
        "folder that task=export makes; null: <checkpoint>-export beside it",
        identity=False,
        path=True,
    )
    sweep: Sweep | None = option(None, "the ablation a run belongs to", identity=False)
    name: str | None = option(
        None, "name of a sweep; null: its file's, else the swept keys", identity=False
    )
    outputs: str = option("outputs", "where run folders go", identity=False, path=True)
    train: Train = field(default_factory=Train, metadata={"help": "how to train"})
    model: Model = field(default_factory=Model, metadata={"help": "the model"})
    optimizer: Optimizer = field(default_factory=Optimizer, metadata={"help": "the optimizer"})
    data: Data = field(default_factory=Data, metadata={"help": "the data set"})
    schedule: Schedule = field(default_factory=Schedule, metadata={"help": "learning rate"})
    augment: Augment = field(default_factory=Augment, metadata={"help": "augmentation"})
    tracker: Tracker = field(
        default_factory=Tracker, metadata={"help": "where metrics go", "identity": False}
    )


def pair(size: int | list[int]) -> tuple[int, int]:
    """Returns a size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


SCHEMAS: dict[str, tuple[type, ...]] = {
    "model": (CRATE, ViT),
    "optimizer": (Lion, Adam, AdamW, SGD),
    "data": (Digits, FashionMNIST, CIFAR10, CIFAR100, Flowers, Pets, Folder),
    "schedule": (Cosine, AuthorsSchedule),
    "augment": (NoAugment, FlipCrop, RandAugment, TrivialAugment),
    "tracker": (Wandb, TensorBoard),
}


def register() -> None:
    """Puts the root schema and the typed nodes into Hydra's store.

    A YAML file takes its type with `defaults: [/schema/model/CRATE@_here_, _self_]`.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, nodes in SCHEMAS.items():
        for node in nodes:
            store.store(group=f"schema/{group}", name=node.__name__, node=node)


def restore(values: dict[str, Any]) -> DictConfig:
    """Returns the tree of a stored configuration, each node typed by its `_target_`.

    Raises OmegaConfBaseException where a key or value does not fit this version's schema.
    """
    tree = OmegaConf.structured(Config)
    for group, nodes in SCHEMAS.items():
        kinds = {OmegaConf.structured(node)._target_: node for node in nodes}
        kind = kinds.get(values[group]["_target_"])
        if kind is not None:
            tree[group] = OmegaConf.structured(kind)
    return OmegaConf.merge(tree, values)
