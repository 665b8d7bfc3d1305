"""What to type in Python to use an export, in any folder."""

from __future__ import annotations

import json
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crate.paths import CHECKOUT

if TYPE_CHECKING:
    from torch import nn


def usage(folder: Path, entries: dict[str, Any], model: nn.Module) -> list[str]:
    """Return the lines of Python that load the export in `folder`, after a line of introduction.

    `entries` is the content of its config.json. A `model` with modules of this package needs the
    package where it is loaded.
    """
    is_ours = any(type(each).__module__.startswith("crate.") for each in model.modules())
    once = f"; once before, `pip install {CHECKOUT}`" if is_ours else ""
    lines = _of_timm if "architecture" in entries else _own
    return [f"to use it, type in Python{once}:", *lines(folder, entries, is_ours)]


def _of_timm(folder: Path, entries: dict[str, Any], is_ours: bool) -> list[str]:
    paths = _paths(entries)
    return [
        *(["import sys"] if paths else []),
        *paths,
        "import timm",
        *(["import crate.model"] if is_ours else []),  # which registers CRATE with timm
        f"model = timm.create_model({_text(f'local-dir:{folder}')}, pretrained=True).eval()",
        "preparation = timm.data.resolve_model_data_config(model)",
        "transform = timm.data.create_transform(**preparation)",
        'label_names = model.pretrained_cfg.get("label_names")',
    ]


def _own(folder: Path, entries: dict[str, Any], is_ours: bool) -> list[str]:
    module, _, name = entries["target"].rpartition(".")
    weights = _text(str(folder / "model.safetensors"))
    return [
        "import json, sys, safetensors.torch, timm",
        *_paths(entries),
        f"from {module} import {name}",
        f"described = json.load(open({_text(str(folder / 'config.json'))}))",
        f'model = {name}(**described["model_args"]).eval()',
        f"model.load_state_dict(safetensors.torch.load_file({weights}))",
        'preparation = timm.data.resolve_data_config(pretrained_cfg=described["pretrained_cfg"])',
        "transform = timm.data.create_transform(**preparation)",
        'label_names = described.get("label_names")',
    ]


def _paths(entries: dict[str, Any]) -> list[str]:
    """Return the lines that let Python find the user's own classes: the model's, its operators'."""
    names = [entries.get("target", "")]
    names += [str(entries["model_args"].get(key, "")) for key in ("compression", "sparsifier")]
    modules = [name.rpartition(".")[0] for name in names if "." in name]
    folders = dict.fromkeys(folder for module in modules if (folder := _folder_of(module)))
    return [f"sys.path.insert(0, {_text(str(folder))})" for folder in folders]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _folder_of(module: str) -> Path | None:
    """Return the folder to import a module from; None if it belongs to an installed package."""
    spec = find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).resolve()
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "stdlib")]
    if any(file.is_relative_to(each) for each in (*installed, CHECKOUT / "crate")):
        return None
    return file.parents[1] if spec.submodule_search_locations else file.parent
