"""What a configuration costs, in closed form: its parameters and the FLOPs of its run.

FLOPs count matrix products alone, two a multiply-add: stem, attention (scores and mixing included),
linear maps and head. They leave out everything that works element by element: norms, softmax,
activations, sums, the optimizer, the moving average of the weights, augmentation.

The prices of a layer's operators are keyed by the names of `crate.model.operators`; an operator
without a price here, such as a class of the user, makes the cost unknown.

Imports no torch and builds no model, so that a sweep is priced before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from crate.config.schema import CRATE, Config, Data, Model, Transformer, ViT, pair

Counts = Mapping[str, int]  # images of each split
MLP_RATIO = 4  # timm's default, which the configuration leaves alone


@dataclass(frozen=True)
class Cost:
    """What a run costs; None where no formula is known."""

    num_parameters: int | None
    forward_flops: float | None  # one image, one forward pass
    train_flops: float | None  # the whole run: training and every evaluation


UNKNOWN = Cost(None, None, None)


class Sizes(NamedTuple):
    """What the formulas read, in the notation of the papers."""

    s: int  # values of a patch
    n: int  # tokens, CLS included
    d: int  # token dimension
    heads: int
    p: int  # dimension of a head


class Price(NamedTuple):
    """Parameters, and multiply-adds on one image."""

    parameters: int
    products: int


def cost(config: Config, count_images: Callable[[Data], Counts | None] | None = None) -> Cost:
    """Return the cost of training a typed configuration from its first step to its last.

    `count_images` returns the images of each split of a data set, {"train": .., "val": ..} and
    perhaps "test", or None; it is called only where the model's price is known. `train_flops` is
    None without these numbers. All is None for a user's own model, a timm model given by name, an
    operator without a price, and task=evaluate, whose model is the checkpoint's.
    """
    if config.task != "train" or (price := _price(config.model)) is None:
        return UNKNOWN
    forward_flops = 2.0 * price.products
    num_images = None if count_images is None else count_images(config.data)
    if num_images is None:
        return Cost(price.parameters, forward_flops, None)
    return Cost(price.parameters, forward_flops, forward_flops * _passes(config, num_images))


def _passes(config: Config, num_images: Counts) -> int:
    """Return how many images' forward passes the run is worth.

    A backward pass costs two forward passes: one gradient for each factor of each product. ViT's
    stem needs no gradient for the pixels, which is not deducted. The EMA is evaluated whenever the
    model is; at the end the test split, if there is one, sees both and the best weights.
    """
    epochs = config.train.epochs
    models = 1 if config.train.ema is None else 2
    training = 3 * epochs * num_images["train"]
    evaluation = models * epochs * num_images["val"] + (models + 1) * num_images.get("test", 0)
    return training + evaluation


def _price(model: Model) -> Price | None:
    """Return the price of a built-in model, or None where no formula is known."""
    if model.is_own:
        return None
    if isinstance(model, CRATE):
        return _crate(model)
    return _vit(model) if isinstance(model, ViT) else None


def _crate(model: CRATE) -> Price | None:
    """Return the price of a CRATE: its ends, the two norms of its stem, and its layers."""
    compression = COMPRESSION_PRICES.get(model.compression)
    sparsifier = SPARSIFIER_PRICES.get(model.sparsifier)
    if compression is None or sparsifier is None:
        return None
    sizes = _sizes(model, model.head_dim)
    ends, first, second = _ends(model, sizes), compression(sizes), sparsifier(sizes)
    stem_norms = _norm(sizes.s) + _norm(sizes.d)
    layer = Price(first.parameters + second.parameters, first.products + second.products)
    return Price(
        ends.parameters + stem_norms + model.depth * layer.parameters,
        ends.products + model.depth * layer.products,
    )


def _mssa(sizes: Sizes) -> Price:
    """Return the price of MSSA and the norm before it: U, scores, mixing, output."""
    _, n, d, heads, p = sizes
    w = heads * p
    merges = heads > 1 or w != d  # otherwise MSSA has no output matrix
    parameters = _norm(d) + d * w + merges * _linear(w, d)
    return Price(parameters, n * d * w + 2 * n * n * w + merges * n * w * d)


def _ista(sizes: Sizes) -> Price:
    """Return the price of ISTA and the norm before it: two products with the dictionary D."""
    _, n, d, _, _ = sizes
    return Price(_norm(d) + d * d, 2 * n * d * d)


# One layer's operator and the norm before it.
COMPRESSION_PRICES: dict[str, Callable[[Sizes], Price]] = {"mssa": _mssa}
SPARSIFIER_PRICES: dict[str, Callable[[Sizes], Price]] = {"ista": _ista}


def _vit(model: ViT) -> Price:
    """Return the price of timm's VisionTransformer.

    It is the same whether the model pools before its last norm or after (`global_pool`).
    """
    sizes = _sizes(model)
    n, d = sizes.n, sizes.d
    hidden = MLP_RATIO * d
    maps = ((d, 3 * d), (d, d), (d, hidden), (hidden, d))  # qkv, output, MLP
    layer = 2 * _norm(d) + sum(_linear(*shape) for shape in maps)
    products = 2 * n * n * d + sum(n * inputs * outputs for inputs, outputs in maps)
    ends = _ends(model, sizes)
    return Price(
        ends.parameters + model.depth * layer,
        ends.products + model.depth * products,
    )


def _ends(model: Transformer, sizes: Sizes) -> Price:
    """Return the price of what CRATE and ViT have around their layers.

    These are the patches' linear map, CLS, the positions, the last norm and the classifier.
    """
    s, n, d, _, _ = sizes
    parameters = _linear(s, d) + d + n * d + _norm(d) + _linear(d, model.num_classes)
    return Price(parameters, (n - 1) * s * d + d * model.num_classes)


def _sizes(model: Transformer, head_dim: int | None = None) -> Sizes:
    (height, width), (rows, columns) = pair(model.img_size), pair(model.patch_size)
    num_tokens = 1 + (height // rows) * (width // columns)
    p = head_dim or model.embed_dim // model.num_heads
    return Sizes(rows * columns * model.in_chans, num_tokens, model.embed_dim, model.num_heads, p)


def _linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def _norm(dim: int) -> int:
    return 2 * dim
