"""Write docs/configuration.md, the reference of every key.

Run `python -m crate.config.reference.document`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from crate.config.reference.groups import groups, options, summary, tables
from crate.config.reference.keys import Key
from crate.config.reference.nodes import SWEEPER, declared, sweeper
from crate.config.reference.words import allowed_in_words, default_in_words, kind_in_words
from crate.config.schema import Config, Objective, Sweep, Train
from crate.paths import CHECKOUT, CONF

FILE = CHECKOUT / "docs" / "configuration.md"
HEAD = """\
# Configuration reference

All groups, options and keys. `python launch.py --help KEY` prints one key and the files that set
it; `python launch.py --cfg job` prints all values that a command line gives. This page is
generated from the schema by `python -m crate.config.reference.document`.

- Choose an option with `GROUP=OPTION` and set a key with `KEY=VALUE`. What you type overrides the
  experiment, the experiment overrides the options, and the options override the defaults below.
- *default* is empty if an option or you set the key; "as KEY" takes the value of another key.
- *counts*: the key is part of a run's signature, so another value makes another run. `init_from`
  counts by its content, a folder of images by its files.
- Every option sets `GROUP._target_`, the class or function that is called; `GROUP.kwargs` holds
  arguments for a target of your own.
"""


def document() -> str:
    """Return the whole page."""
    top = [key for key in declared(Config, "") if "." not in key.name]
    lines = [HEAD, "## Run\n", *_table(top)]
    lines += ["## train\n", *_table(declared(Train, "train."))]
    lines += ["## objective\n", *_table(declared(Objective, "objective."))]
    for group in groups():
        lines += _group(group)
    lines += ["## hydra.sweeper\n", *_table(declared(sweeper(), SWEEPER))]
    return "\n".join(lines).rstrip() + "\n"


def _group(group: str) -> Iterator[str]:
    files = options(group, [CONF])
    yield f"## {group}\n"
    yield f"| `{group}=` | what it is |\n|---|---|"
    for name, file in files.items():
        link = Path("..", file.relative_to(CHECKOUT)).as_posix()
        yield f"| [`{name}`]({link}) | {_cell(summary(file))} |"
    yield ""
    at = f"{group.replace('/', '.')}."
    if group == "sweep":
        yield from _table(declared(Sweep, at))
    for title, keys in tables(group, [CONF]):
        yield f"Keys of {_cell(title)}\n"
        yield from _table(keys)


def _table(keys: Iterable[Key]) -> Iterator[str]:
    yield "| key | type | allowed | default | counts | what it is |\n|---|---|---|---|---|---|"
    for key in keys:
        default = default_in_words(key)
        default = f"`{default}`" if default else ""
        default = f"as `{default[4:]}" if default.startswith("`as ") else default
        counts = "yes" if key.in_signature else ""
        kind, allowed = kind_in_words(key), allowed_in_words(key)
        cells = (f"`{key.name}`", kind, allowed, default, counts, key.rules.get("help", ""))
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    FILE.write_text(document())
