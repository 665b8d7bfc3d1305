"""Load weights strictly: only position embeddings may be interpolated, which is reported."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

SHOWN = 5  # names listed per kind of mismatch


def load_weights(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    old_grid: tuple[int, int] | None = None,
    fresh_head: bool = False,
) -> list[str]:
    """Load every weight of `state_dict` into `model`; return a line for each change to them.

    `pos_embed` (1, N, d) of another image or patch size is resampled bicubically to the model's
    grid; its line is such as "pos_embed: 14 x 14 interpolated (bicubic) to 16 x 16". This works for
    CRATE and for timm's ViT. `old_grid` is (rows, columns) of patches in `state_dict`; without it
    an equal number of tokens means the same grid, and another number a square grid.

    With `fresh_head` the model keeps its classifier if that of `state_dict` has another number of
    classes; this gives a line, too.

    Raise ValueError if names or shapes do not fit; nothing is loaded then.
    """
    weights = dict(state_dict)
    expected = model.state_dict()
    notes = _fit_positions(model, weights, expected, old_grid)
    if fresh_head:
        notes += _keep_head(model, weights, expected)
    _check_fit(weights, expected)
    model.load_state_dict(weights)
    return notes


def _fit_positions(
    model: nn.Module,
    weights: dict[str, Tensor],
    expected: Mapping[str, Tensor],
    old_grid: tuple[int, int] | None,
) -> list[str]:
    """Resample `pos_embed` of `weights` in place if its grid differs; return the line, if any."""
    given, wanted = weights.get("pos_embed"), expected.get("pos_embed")
    new_grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if given is None or wanted is None or new_grid is None or given.ndim != 3:
        return []
    if given.shape[2] != wanted.shape[2]:  # another embed_dim, which the caller refuses
        return []
    new_grid = tuple(new_grid)
    if given.shape[1] == wanted.shape[1] and (old_grid is None or tuple(old_grid) == new_grid):
        return []
    # Not model.num_prefix_tokens: some of timm's ViTs have a CLS token without a position.
    num_prefix = wanted.shape[1] - math.prod(new_grid)
    old_grid = _old_grid(given.shape[1] - num_prefix, old_grid, new_grid)
    weights["pos_embed"] = resample_abs_pos_embed(
        given, new_size=list(new_grid), old_size=list(old_grid), num_prefix_tokens=num_prefix
    )
    return [f"pos_embed: {_by(old_grid)} interpolated (bicubic) to {_by(new_grid)}"]


def _keep_head(
    model: nn.Module, weights: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> list[str]:
    """Replace a classifier of another size by the model's; return a line for each weight."""
    get_classifier = getattr(model, "get_classifier", None)
    if get_classifier is None:
        return []
    classifier = get_classifier()
    names = [name for name, module in model.named_modules() if module is classifier and name]
    kept = [
        name
        for name in expected
        if names
        and name.rpartition(".")[0] == names[0]
        and name in weights
        and weights[name].shape[1:] == expected[name].shape[1:]
        and weights[name].shape != expected[name].shape
    ]
    notes = [
        f"{name}: replaced, {_by(weights[name].shape)} by a fresh {_by(expected[name].shape)}"
        for name in kept
    ]
    weights.update({name: expected[name] for name in kept})
    return notes


def listed(names: Iterable[str]) -> str:
    """Return names of weights, those of numbered layers in short: layers.{0..11}.norm."""
    numbers: dict[str, list[int]] = {}
    for name in names:
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        pattern = name if number is None else f"{name[: number.start()]}*{name[number.end() :]}"
        numbers.setdefault(pattern, []).extend([] if number is None else [int(number[0])])
    return ", ".join(
        pattern.replace("*", _range(sorted(at))) if at else pattern
        for pattern, at in numbers.items()
    )


def _range(numbers: list[int]) -> str:
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{{{numbers[0]}..{numbers[-1]}}}"
    return str(numbers[0]) if len(numbers) == 1 else "{" + ",".join(map(str, numbers)) + "}"


def _old_grid(
    num_patches: int, old_grid: tuple[int, int] | None, new_grid: tuple[int, int]
) -> tuple[int, int]:
    """Return (rows, columns) of `num_patches` positions; raise ValueError if they are unknown."""
    if old_grid is None:
        side = math.isqrt(max(num_patches, 0))
        old_grid = (side, side)
        problem = "which is no square grid"
    else:
        problem = f"which is not old_grid {_by(old_grid)}"
    if num_patches < 1 or math.prod(old_grid) != num_patches:
        raise ValueError(
            f"pos_embed: given {num_patches} patch positions, {problem}, to be interpolated to "
            f"{_by(new_grid)}: pass old_grid=(rows, columns) of the model that was trained"
        )
    return old_grid


def _check_fit(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    misshapen = [
        f"{name} given {_by(given[name].shape)}, expected {_by(weight.shape)}"
        for name, weight in expected.items()
        if name in given and given[name].shape != weight.shape
    ]
    problems = {
        "missing": [name for name in expected if name not in given],
        "unexpected": [name for name in given if name not in expected],
        "wrong shape": misshapen,
    }
    lines = [
        f"  {kind} ({len(which)}): {_first(which)}" for kind, which in problems.items() if which
    ]
    if lines:
        raise ValueError("\n".join(["the weights do not fit the model; none was loaded:", *lines]))


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _by(shape: Iterable[int]) -> str:
    return " x ".join(str(side) for side in shape) or "a scalar"
