"""Every key that can be set, those of Hydra's plugins included, for `--help KEY` and the docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache

from omegaconf import OmegaConf

from crate.config import schema
from crate.config.reference.keys import Key, walk
from crate.config.schema import Config, Target

LAUNCHER = "hydra/launcher"
SWEEPER = "hydra.sweeper."


@cache
def nodes() -> dict[str, tuple[type, ...]]:
    """Return the classes of the schema by group, each after those that it extends.

    The options of the launchers come from their plugin, as Hydra finds it.
    """
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    schema.register()
    Plugins.instance()
    registered = ConfigStore.instance().repo["schema"]
    by_group = {}
    for group in (*schema.SCHEMAS, "launcher"):
        kinds = [OmegaConf.get_type(each.node) or dict for each in registered[group].values()]
        bases = [base for kind in kinds for base in reversed(kind.__mro__)]
        used = [base for base in bases if is_dataclass(base) and base is not Target]
        by_group[LAUNCHER if group == "launcher" else group] = tuple(dict.fromkeys(used))
    return by_group


def sweeper() -> type:
    """Return the class of the sweeper's options, as its plugin registers them with Hydra."""
    from hydra.core.config_store import ConfigStore

    nodes()
    node = ConfigStore.instance().repo["hydra"]["sweeper"]["crate.yaml"].node
    return OmegaConf.get_type(node) or dict


@cache
def keys() -> dict[str, list[Key]]:
    """Return every key that takes a value, by its dotted name, with each of its declarations."""
    everything = list(declared(Config, ""))
    for group, kinds in nodes().items():
        for kind in kinds:
            everything += declared(kind, f"{group.replace('/', '.')}.")
    everything += declared(sweeper(), SWEEPER)
    by_name: dict[str, list[Key]] = {}
    for key in everything:
        by_name.setdefault(key.name, []).append(key)
    return by_name


def declared(node: type, at: str) -> Iterator[Key]:
    """Yield the keys that a class declares, without those of its bases and of the groups."""
    for key in walk(node, at, inherited=False):
        if key.node is None and key.name.partition(".")[0] not in ({} if at else schema.SCHEMAS):
            yield key
