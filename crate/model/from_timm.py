"""Any model of timm by its name, fitted to the images and classes of a data set.

The weights are random; they are downloaded where `pretrained` asks for it, and only there.
"""

from __future__ import annotations

import difflib
import inspect
import re
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, is_model, model_entrypoint, resolve_model_input_args
from torch import nn

from crate.model.patch_embedding import Size

LARGER_PX = (32, 64, 128, 224, 256, 384)  # tried where an image is too small, to say what fits
_WEIGHTS = ("pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")


def create(
    model_name: str,
    img_size: Size | None,
    in_chans: int,
    num_classes: int,
    pretrained: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """timm's `model_name`, reading `in_chans` channels and giving `num_classes` logits.

    `img_size`, pixels or (height, width), reaches the models that timm builds for one size; the
    others, convnets above all, take any and have no such argument. `kwargs` are the model's own.
    Raises ValueError for an unknown name or argument, and for weights that cannot be had.
    """
    _check_name(model_name)
    asked = {"img_size": img_size, "in_chans": in_chans}
    arguments = resolve_model_input_args(model_name, asked, num_classes=num_classes, **kwargs)
    try:
        return timm.create_model(pretrained=pretrained, **arguments)
    except TypeError as error:
        raise ValueError(_unknown_argument(model_name, error)) from error
    except Exception as error:  # each host of weights fails in its own way
        if not pretrained:
            raise
        raise ValueError(f"{model_name}: its weights cannot be had: {error}") from error


def check(
    image_shape: tuple[int, int, int], classes: int, *, img_size: Size | None, **kwargs: Any
) -> None:
    """Raises ValueError where the model that `create` gives has no use for such images.

    One image (in_chans, height, width) goes through it on torch's meta device, which knows
    shapes alone: nothing is computed, drawn or loaded. The message names sizes that fit.
    """
    kwargs = {name: value for name, value in kwargs.items() if name not in _WEIGHTS}
    problem = _problem(image_shape, classes, img_size, kwargs)
    if problem is None:
        return
    (channels, *size), name = image_shape, kwargs["model_name"]
    images = f"{classes} classes of {channels} x {size[0]} x {size[1]} images"
    lines = [f"{name} does not fit {images}: {problem}"]
    if img_size in (size[0], size, tuple(size)):  # it follows the data's, which may be larger
        known = get_pretrained_cfg(name)  # none for a name that timm keeps for old callers
        larger = sorted({*LARGER_PX, *(known.input_size[-1:] if known else ())})
        fits = [
            side
            for side in larger
            if side > min(size) and not _problem((channels, side, side), classes, side, kwargs)
        ]
        if fits:
            lines.append(f"  allowed: {', '.join(map(str, fits))} pixels, and others")
            lines.append(f"  type:    data.img_size={fits[0]}")
    raise ValueError("\n".join(lines))


create.check = check  # what crate.config.target asks before anything starts


def _problem(
    image_shape: tuple[int, int, int], classes: int, img_size: Size | None, kwargs: dict[str, Any]
) -> str | None:
    """Why an image gives no logits for every class, or None where it does."""
    try:
        with torch.device("meta"), torch.no_grad():
            model = create(img_size=img_size, **kwargs).eval()
            logits = model(torch.zeros(1, *image_shape))
    except NotImplementedError:  # an operation without a meta form: it may well compute
        return None
    except ValueError:  # a name or an argument: another size would not mend it
        raise
    except Exception as error:  # whatever the layers of some model say of a size
        return f"{type(error).__name__}: {error}".splitlines()[0]
    shape = getattr(logits, "shape", (type(logits).__name__,))
    if len(shape) == 2 and shape[1] >= classes:
        return None
    return f"it gives {' x '.join(map(str, shape))}"


def _check_name(model_name: str) -> None:
    tagged = "." in model_name
    known = timm.list_models(include_tags=tagged)
    if model_name in known or (not tagged and is_model(model_name)):  # timm lists no old names
        return
    near = difflib.get_close_matches(model_name, known, n=5, cutoff=0.3) or ["resnet18"]
    raise ValueError(
        f"timm has no model {model_name}; did you mean {near[0]}?\n"
        f"  allowed: {', '.join(near)}, and {len(known) - len(near)} more: timm.list_models()\n"
        f"  type:    model.kwargs.model_name={near[0]}"
    )


def _unknown_argument(model_name: str, error: TypeError) -> str:
    """What to say of timm's refusal of an argument: those of the model, the nearest first."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    kind = inspect.signature(model_entrypoint(model_name), eval_str=True).return_annotation
    if found is None or not inspect.isclass(kind):
        return f"{model_name}: {error}"
    names = [name for name in inspect.signature(kind).parameters if name != "kwargs"]
    near = difflib.get_close_matches(found[1], names, n=3, cutoff=0.5)
    allowed = near + [name for name in names if name not in near]
    fix = f"+model.kwargs.{near[0]}=VALUE" if near else f"no model.kwargs.{found[1]}"
    return (
        f"{model_name} has no argument {found[1]}\n  allowed: {', '.join(allowed)}\n"
        f"  type:    {fix}"
    )
