"""The source files that trained a run, so that a later launch can find out whether they changed.

These are the files of `crate` and of the user that the run imports. For installed packages only the
versions are recorded. A file is identified by its syntax tree (see `crate.run.syntax`), and named
by its path relative to the checkout, or by its absolute path outside. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

from crate.paths import CHECKOUT
from crate.run import syntax

PACKAGE = CHECKOUT / "crate"
ENTRY = "crate.tasks.train"  # only what it imports can change a result
INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
PROGRAM = ("__main__", "__mp_main__")  # what launched a run, under the names that Python gives it
Record = dict[str, str]  # name of a file -> its digest

_before = frozenset(sys.modules)  # modules that were loaded before anything that trains
_digests: dict[Path, str] = {}  # of files as they were when this process first recorded them
_recorded: set[str] = set()  # modules of the runs that this process recorded
_found_by_name: dict[str, set[str]] = {}  # a user's target -> modules that it imported by name


def record(targets: Iterable[str]) -> Record:
    """Return the files that a run of `targets`, dotted names, has imported in this process.

    Modules that only the targets of another run in this process import are left out. A file that is
    edited after it was recorded keeps its digest, because its old code stays loaded.
    """
    roots = {name.rpartition(".")[0] for name in targets}
    modules = _reachable({ENTRY, *roots})
    modules |= _imported_by_name({name for name in roots if _is_users(name)}, modules)
    _recorded.update(modules)
    files = {file for name in modules if (file := own_file(sys.modules.get(name))) is not None}
    for file in files - _digests.keys():
        if (source := syntax.read(file)) is not None:
            _digests[file] = source.digest
    return {_name(file): _digests[file] for file in sorted(files & _digests.keys())}


def fingerprint(files: Record) -> str:
    """Return one hash for the files of a run."""
    text = json.dumps(files, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[: syntax.DIGITS]


def changed_files(files: Record) -> list[str]:
    """Return the names of recorded files that are no longer what they were, or are gone."""
    return [name for name, digest in files.items() if _digest(name) != digest]


def _digest(name: str) -> str | None:
    source = syntax.read(CHECKOUT / name)
    return None if source is None else source.digest


def _name(file: Path) -> str:
    is_inside = file.is_relative_to(CHECKOUT)
    return file.relative_to(CHECKOUT).as_posix() if is_inside else str(file)


def own_file(module: ModuleType | None) -> Path | None:
    """Return the source file of a module; None for one that is built in or installed."""
    name = getattr(module, "__file__", None)
    if name is None or not name.endswith(".py"):
        return None
    file = Path(name).resolve()
    is_installed = (
        not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
        or any(file.is_relative_to(folder) for folder in INSTALLED)
    ) and not file.is_relative_to(PACKAGE)
    return None if is_installed else file


def _reachable(roots: set[str]) -> set[str]:
    """Return the loaded modules of our own that `roots` import, directly or through others."""
    todo, reached = list(roots), set[str]()
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        if name in reached or module is None or (file := own_file(module)) is None:
            continue
        reached.add(name)
        todo.append(name.rpartition(".")[0])  # the package, whose __init__ runs too
        source = syntax.read(file)
        for statement in source.imports if source else ():
            todo += _imported(statement, module.__package__ or "")
    return reached


def _imported(statement: syntax.Import, package: str) -> Iterator[str]:
    """Yield the names that may be modules in an import statement of a module in `package`."""
    module = "." * statement.level + statement.module
    if statement.level:
        module = resolve_name(module, package)
    yield module
    yield from (f"{module}.{name}" for name in statement.names)


def _imported_by_name(targets: set[str], reachable: set[str]) -> set[str]:
    """Return the user's modules that `targets` loaded without an import statement.

    Such a module is new when the first run of a target is recorded.
    """
    loaded = {name for name in set(sys.modules) - _before if _is_users(name)}
    new = loaded - reachable - _recorded
    for target in targets:
        _found_by_name.setdefault(target, set()).update(new)
    return set().union(*(_found_by_name[target] for target in targets))


def _is_users(name: str) -> bool:
    """Return whether a module is the user's own: neither of this project nor installed."""
    is_ours = name.partition(".")[0] in ("crate", "hydra_plugins", *PROGRAM)
    return not is_ours and own_file(sys.modules.get(name)) is not None
