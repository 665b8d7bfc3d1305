"""Hashes of Python files by their syntax trees, without comments, formatting and docstrings.

Imports no torch.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

DIGITS = 12  # hexadecimal; 48 bits
# Fields that are redundant, or that hold comments.
SKIPPED = frozenset(("ctx", "kind", "type_comment", "type_ignores"))
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Import(NamedTuple):
    """An import statement: `from ..module import names` has the level 2."""

    level: int
    module: str
    names: tuple[str, ...]


class Source(NamedTuple):
    """The hash of a file's syntax tree, and all its import statements, also those in functions."""

    digest: str
    imports: tuple[Import, ...]


def read(file: Path) -> Source | None:
    """Return a file's source, parsed once for each state of the file; None if it is missing.

    A file that Python cannot parse is identified by its bytes.
    """
    try:
        state = file.stat()
        return _read(file, state.st_mtime_ns, state.st_size)
    except OSError:
        return None


@cache
def _read(file: Path, modified_ns: int, size: int) -> Source:
    content = file.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return Source(hashlib.sha256(content).hexdigest()[:DIGITS], ())
    words: list[str] = []
    _add(tree, words)
    digest = hashlib.sha256("\0".join(words).encode(errors="surrogatepass"))
    return Source(digest.hexdigest()[:DIGITS], tuple(_imports(tree)))


def _imports(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.level, node.module or "", tuple(each.name for each in node.names))


def _add(node: object, words: list[str]) -> None:
    """Add to `words` the words that identify a tree in every version of Python.

    Empty fields are left out, because later versions have more of them.
    """
    if isinstance(node, list):
        words.append("[")
        for each in node:
            _add(each, words)
        words.append("]")
    elif isinstance(node, ast.Constant):
        words.append(repr(node.value))
    elif isinstance(node, ast.AST):
        words.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = _field(node, name)
            if value is not None and value != []:
                words.append(name)
                _add(value, words)
        words.append(")")
    else:
        words.append(repr(node))


def _field(node: ast.AST, name: str) -> object:
    """Return a field of a node, without docstrings, and with adjacent texts of f-strings joined."""
    if name in SKIPPED:
        return None
    if name == "body" and isinstance(node, WITH_DOCSTRING):
        return node.body[ast.get_docstring(node, clean=False) is not None :]
    if name == "values" and isinstance(node, ast.JoinedStr):
        return _joined(node.values)
    return getattr(node, name, None)


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string; adjacent texts, which some versions split, are joined."""
    parts: list[ast.expr] = []
    for value in values:
        last = parts[-1] if parts else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            parts[-1] = ast.Constant(str(last.value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            parts.append(value)
    return parts
