"""What a configuration costs, in closed form: its parameters and the FLOPs of its run.

FLOPs are those of matrix products alone, 2 a multiply-add: stem, attention (scores and mixing
too), linear maps and head. Left out is all that works element by element: norms, softmax,
activations, sums, the optimizer, the running mean of the weights, augmentation.

N tokens (CLS and the patches), d embed_dim, w = num_heads * head_dim, s values of a patch.
Imports no torch and builds no model, so that a sweep is priced before anything starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from crate.config.schema import CRATE, Config, Transformer, ViT, pair
from crate.data.facts import num_images

MLP_RATIO = 4  # timm's default, which the configuration leaves alone


@dataclass(frozen=True)
class Cost:
    """What a run costs; None where no formula is known."""

    num_parameters: int | None
    forward_flops: float | None  # one image, one forward pass
    train_flops: float | None  # the whole run: training and every evaluation


UNKNOWN = Cost(None, None, None)


def cost(config: Config) -> Cost:
    """Returns the cost of training a typed configuration from its first step to its last.

    All is None for a user's own model, one of timm by its name, and for task=evaluate, whose model
    is the checkpoint's; `train_flops` alone is None for a data set of a user's own.
    """
    model = config.model
    formula = {CRATE: _crate, ViT: _vit}.get(type(model))
    if formula is None or model.is_own or config.task != "train":
        return UNKNOWN
    parameters, products = formula(model)
    forward_flops = 2.0 * products
    passes = _forward_passes(config)
    return Cost(parameters, forward_flops, None if passes is None else passes * forward_flops)


def _forward_passes(config: Config) -> int | None:
    """Returns how many images' forward passes the run is worth.

    A backward pass costs two forward ones: a gradient for each factor of each product. The stem
    of ViT needs none for the pixels, which is not deducted. The EMA is evaluated beside the model
    whenever that is; at the end the test split, if there is one, sees both and the best weights.
    """
    images, epochs = num_images(config.data), config.train.epochs
    if images is None:
        return None
    models = 1 if config.train.ema is None else 2
    training = 3 * epochs * images["train"]
    return training + models * epochs * images["val"] + (models + 1) * images.get("test", 0)


def _crate(model: CRATE) -> tuple[int, int]:
    """Returns the parameters and the multiply-adds of a CRATE on one image."""
    s, n, d = _sizes(model)
    w = d if model.head_dim is None else model.num_heads * model.head_dim
    merges = model.num_heads > 1 or w != d  # else MSSA has no output matrix
    layer = 2 * _norm(d) + d * w + merges * _linear(w, d) + d * d  # U, output, D
    products = n * d * w + 2 * n * n * w + merges * n * w * d + 2 * n * d * d  # D twice
    parameters, ends = _ends(model)
    stem_norms = _norm(s) + _norm(d)
    return parameters + stem_norms + model.depth * layer, ends + model.depth * products


def _vit(model: ViT) -> tuple[int, int]:
    """Returns the parameters and the multiply-adds of timm's VisionTransformer on one image.

    Whether it pools before its last norm or after (`global_pool`) is the same here.
    """
    _, n, d = _sizes(model)
    hidden = MLP_RATIO * d
    maps = ((d, 3 * d), (d, d), (d, hidden), (hidden, d))  # qkv, output, MLP
    layer = 2 * _norm(d) + sum(_linear(*sizes) for sizes in maps)
    products = 2 * n * n * d + sum(n * inputs * outputs for inputs, outputs in maps)
    parameters, ends = _ends(model)
    return parameters + model.depth * layer, ends + model.depth * products


def _ends(model: Transformer) -> tuple[int, int]:
    """Returns parameters and multiply-adds of what both have around their layers.

    These are the patches' linear map, CLS, the positions, the last norm and the classifier.
    """
    s, n, d = _sizes(model)
    parameters = _linear(s, d) + d + n * d + _norm(d) + _linear(d, model.num_classes)
    return parameters, (n - 1) * s * d + d * model.num_classes


def _sizes(model: Transformer) -> tuple[int, int, int]:
    """Returns (s, N, d): the values of a patch, the tokens, the token dimension."""
    (height, width), (rows, columns) = pair(model.img_size), pair(model.patch_size)
    num_tokens = 1 + (height // rows) * (width // columns)
    return rows * columns * model.in_chans, num_tokens, model.embed_dim


def _linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def _norm(dim: int) -> int:
    return 2 * dim
