"""The options of each group, which are YAML files, and the keys that these files set."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from crate.config.reference.keys import Key
from crate.config.reference.nodes import declared, nodes
from crate.paths import CHECKOUT, CONF

GLOBAL = ("experiment", "task")  # groups whose options set the keys of others
SWEEP = "sweep"


def groups() -> list[str]:
    """Return the groups that have options."""
    return [*nodes(), *GLOBAL, SWEEP]


def options(group: str, folders: list[Path]) -> dict[str, Path]:
    """Return the options of a group by name, of `conf` and of a user's own folders."""
    files: dict[str, Path] = {}
    for folder in folders:
        if group == SWEEP:
            within = (CHECKOUT if folder == CONF else folder) / "sweeps"
        else:
            within = folder / group
        for file in sorted(within.glob("*.yaml")):
            files.setdefault(file.stem, file)
    return files


def summary(file: Path) -> str:
    """Return the first sentence of the comment that opens a YAML file."""
    text = ""
    for line in file.read_text().splitlines():
        if not line.startswith("#") or line.startswith("#   python"):
            if text:
                break
        elif not line.startswith("# @"):
            text += line.removeprefix("#")
    return text.strip().split(". ")[0].rstrip(".")


def schema_of(group: str, name: str, folders: list[Path]) -> type | None:
    """Return the class that types an option, named by it or by the option that it extends."""
    kinds = {kind.__name__: kind for kind in nodes().get(group, ())}
    file = options(group, folders).get(name)
    for entry in (load(file).get("defaults") or []) if file else []:
        base = str(entry).partition("@")[0].rpartition("/")[2]
        if str(entry).startswith("/schema/"):
            return kinds.get(base)
        if base not in ("_self_", name):
            return schema_of(group, base, folders)
    return next(iter(kinds.values()), None)


def tables(group: str, folders: list[Path]) -> Iterator[tuple[str, list[Key]]]:
    """Yield the keys of a group by the class that declares them, with a title for each class."""
    kinds = {name: schema_of(group, name, folders) for name in options(group, folders)}
    at = f"{group.replace('/', '.')}."
    for node in nodes().get(group, ()):
        names = [name for name, kind in kinds.items() if kind and issubclass(kind, node)]
        keys = [key for key in declared(node, at) if key.name != f"{at}_target_"]
        if keys and names:
            which = "every option" if len(names) == len(kinds) else ", ".join(names)
            purpose = (inspect.getdoc(node) or "").partition("\n\n")[0]
            yield f"{which}: {' '.join(purpose.split())}", keys


def settings(key: str, folders: list[Path]) -> list[tuple[Path, Any]]:
    """Return the files that set a key, each with its value, or a sweep's values."""
    group, _, name = key.partition(".")
    if group == "hydra":
        group, _, name = key.rpartition(".")
    values = [
        (file, _value(load(file), name.split(".")))
        for file in options(group.replace(".", "/"), folders).values()
        if group != SWEEP
    ]
    for each in GLOBAL:
        values += [(f, _value(load(f), key.split("."))) for f in options(each, folders).values()]
    for file in options(SWEEP, folders).values():
        values += [(file, _value(load(file), [axis, key])) for axis in ("grid", "zip")]
    return [(file, value) for file, value in values if value is not None]


def _value(tree: Any, key: list[str]) -> Any:
    for part in key:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


@cache
def load(file: Path) -> dict[str, Any]:
    """Return the content of a YAML file, with its interpolations as they are written."""
    content = OmegaConf.to_container(OmegaConf.load(file))
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}
