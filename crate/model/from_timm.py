"""Any model of timm by its name, fitted to the images and classes of a data set.

The weights are random unless `pretrained` asks for timm's, which are then downloaded.
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
_OF_WEIGHTS = ("pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")


class ArgumentError(ValueError):
    """An argument of `create` that makes no model.

    `argument` names it, `allowed` lists in words what may be given, and `instead` maps an argument
    to a value that is allowed (None: any value); it is empty where none comes close.
    """

    def __init__(self, given: str, argument: str, allowed: str, instead: dict[str, Any]) -> None:
        super().__init__(f"{given}\n  allowed: {allowed}")
        self.given, self.argument, self.allowed, self.instead = given, argument, allowed, instead


def create(
    model_name: str,
    img_size: Size | None,
    in_chans: int,
    num_classes: int,
    pretrained: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Return timm's `model_name` for images of `in_chans` channels, with `num_classes` logits.

    `img_size`, pixels or (height, width), is passed to the models that timm builds for one size.
    Other models, such as convnets, take any size and have no such argument. `kwargs` are further
    arguments of the model.
    Raise ArgumentError for an unknown name or argument, ValueError for weights that timm does not
    have or cannot download.
    """
    _check_name(model_name)
    asked = {"img_size": img_size, "in_chans": in_chans}
    arguments = resolve_model_input_args(model_name, asked, num_classes=num_classes, **kwargs)
    try:
        return timm.create_model(pretrained=pretrained, **arguments)
    except TypeError as error:
        raise _unknown_argument(model_name, error) from error
    except Exception as error:  # each host of weights fails in its own way
        if not pretrained:
            raise
        raise ValueError(f"{model_name}: cannot load its weights: {error}") from error


def check(
    image_shape: tuple[int, int, int], classes: int, *, img_size: Size | None, **kwargs: Any
) -> None:
    """Raise ValueError if the model that `create` builds cannot classify such images.

    One image (in_chans, height, width) passes through the model on torch's meta device, which
    tracks shapes only: nothing is computed, drawn or downloaded. Where the images are too small
    the error is an ArgumentError that lists sizes that fit.
    """
    kwargs = {name: value for name, value in kwargs.items() if name not in _OF_WEIGHTS}
    problem = _problem(image_shape, classes, img_size, kwargs)
    if problem is None:
        return
    name, (channels, height, width) = kwargs["model_name"], image_shape
    images = f"{classes} classes of {channels} x {height} x {width} images"
    given = f"{name} does not fit {images}: {problem}"
    follows_data = img_size in (height, (height, width), [height, width])
    fits = _fitting_sizes(image_shape, classes, kwargs) if follows_data else []
    if not fits:
        raise ValueError(given)
    allowed = f"{', '.join(map(str, fits))} pixels, and others"
    raise ArgumentError(given, "img_size", allowed, {"img_size": fits[0]})


# The configuration's check calls it before anything starts; see crate.config.target.
create.check = check  # type: ignore[attr-defined]  # mypy knows no attributes of functions


def _fitting_sizes(
    image_shape: tuple[int, int, int], classes: int, kwargs: dict[str, Any]
) -> list[int]:
    """Return sides of larger square images that the model classifies, in ascending order."""
    channels, *size = image_shape
    known = get_pretrained_cfg(kwargs["model_name"])  # None for a name kept for old callers
    larger = sorted({*LARGER_PX, *(known.input_size[-1:] if known else ())})
    return [
        side
        for side in larger
        if side > min(size) and not _problem((channels, side, side), classes, side, kwargs)
    ]


def _problem(
    image_shape: tuple[int, int, int], classes: int, img_size: Size | None, kwargs: dict[str, Any]
) -> str | None:
    """Return why an image gives no logits for every class, or None if it does."""
    try:
        with torch.device("meta"), torch.no_grad():
            model = create(img_size=img_size, **kwargs).eval()
            logits = model(torch.zeros(1, *image_shape))
    except NotImplementedError:  # an operation without a meta form may still compute
        return None
    except ValueError:  # a name or an argument, which another size would not mend
        raise
    except Exception as error:  # layers refuse a size in many ways
        return f"{type(error).__name__}: {error}".splitlines()[0]
    if not isinstance(logits, torch.Tensor):
        return f"it gives {type(logits).__name__}"
    if logits.ndim == 2 and logits.shape[1] >= classes:
        return None
    return f"it gives {' x '.join(map(str, logits.shape))}"


def _check_name(model_name: str) -> None:
    tagged = "." in model_name
    known = timm.list_models(include_tags=tagged)
    if model_name in known or (not tagged and is_model(model_name)):  # timm lists no old names
        return
    near = difflib.get_close_matches(model_name, known, n=5, cutoff=0.3) or ["resnet18"]
    raise ArgumentError(
        f"timm has no model {model_name}; did you mean {near[0]}?",
        "model_name",
        f"{', '.join(near)}, and {len(known) - len(near)} more: timm.list_models()",
        {"model_name": near[0]},
    )


def _unknown_argument(model_name: str, error: TypeError) -> ValueError:
    """Return the error for an argument that timm refused: the model's own, the nearest first."""
    refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    kind = inspect.signature(model_entrypoint(model_name), eval_str=True).return_annotation
    if refused is None or not inspect.isclass(kind):
        return ValueError(f"{model_name}: {error}")
    names = [name for name in inspect.signature(kind).parameters if name != "kwargs"]
    near = difflib.get_close_matches(refused[1], names, n=3, cutoff=0.5)
    allowed = near + [name for name in names if name not in near]
    given = f"{model_name} has no argument {refused[1]}"
    return ArgumentError(given, refused[1], ", ".join(allowed), dict.fromkeys(near[:1]))
