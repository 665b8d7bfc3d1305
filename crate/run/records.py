"""JSON records: dataclasses with one writer and one reader that trusts no file.

A record is a subclass of `Record`. `read` checks each value against the annotation of its field and
names a wrong value. `write` first renames a damaged file that it would replace. Keys that this
version does not know are kept in the record. Imports no torch.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import IO, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from crate.errors import UserError

logger = logging.getLogger("crate")

R = TypeVar("R", bound="Record")
_JSON_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
_JSON_NAMES |= {int: "a whole number", float: "a number", NoneType: "null"}


class Unreadable(UserError):
    """A file that the system refuses to read."""


class Damaged(Unreadable):
    """A file whose content is not the expected record."""


@dataclass(kw_only=True)
class Record:
    """Base class of all records that are stored as a JSON object.

    `unknown` holds the keys that this version does not know, so that rewriting keeps them.
    """

    unknown: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Any, at: str = "") -> Self:
        """Return the record of JSON values; raise a ValueError that names a wrong value.

        `at` is the name of the values within a larger record.
        """
        if not isinstance(values, dict):
            raise ValueError(f"{at or 'it'} is {_json_name(values)}, not an object")
        known = {}
        for name, (kind, is_required) in _fields(cls).items():
            inner = f"{at}.{name}" if at else name
            if name in values:
                known[name] = _checked(values[name], kind, inner)
            elif is_required:
                raise ValueError(f"{inner} is missing")
        record = cls(**known, unknown={key: values[key] for key in values.keys() - known.keys()})
        record.check()
        return record

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values; a field that is None is left out."""
        values = {name: _plain(getattr(self, name)) for name in _fields(type(self))}
        return {key: value for key, value in values.items() if value is not None} | self.unknown

    def check(self) -> None:
        """Raise ValueError if values that fit their fields contradict each other."""


def read(kind: type[R], path: Path) -> R | None:
    """Return the record in a file, or None if there is no file.

    Raise Damaged if the content is not such a record, and Unreadable if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from error
    try:
        return kind.from_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        reason = str(error) if content.strip(b"\0 \n") else "it is empty"
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) and reason == str(error):
            reason = f"it is not JSON ({error})"
        raise Damaged(f"{path} is damaged: {reason}") from error


def write(path: Path, record: Record, mode: int = 0o666) -> None:
    """Write a record as a whole file; rename a damaged file that it would replace."""
    keep_damaged(type(record), path)
    write_json(path, record.to_json(), mode)


def keep_damaged(kind: type[Record], path: Path) -> Path | None:
    """Rename a damaged file to `<name>.damaged-<n>` and warn; return the new path, if any.

    Raise Unreadable for a file that cannot be read: it must not be replaced.
    """
    try:
        read(kind, path)
    except Damaged as error:
        kept = free_name(path)
        path.rename(kept)
        logger.warning("%s; kept as %s", error, kept.name)
        return kept
    return None


def free_name(path: Path) -> Path:
    """Return the first path `<name>.damaged-<n>` that is free."""
    number = 1
    while (free := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return free


@cache
def warn_once(text: str) -> None:
    """Log a warning, once in this process."""
    logger.warning(text)


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file that takes the name `path` only once it is complete and on disk.

    `mode` holds its permissions, before the process's umask.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, values: Any, mode: int = 0o666) -> None:
    """Write JSON values as a whole file; the caller removes secrets from them."""
    with whole_file(path, mode) as file:
        file.write((json.dumps(values, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is no file or no object in it."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


_fields_by_kind: dict[type[Record], dict[str, tuple[Any, bool]]] = {}


def _fields(kind: type[Record]) -> dict[str, tuple[Any, bool]]:
    """Return the stored fields of a record: name -> annotation, and whether it is required."""
    if kind not in _fields_by_kind:
        hints = get_type_hints(kind)
        _fields_by_kind[kind] = {
            entry.name: (hints[entry.name], _is_required(entry))
            for entry in fields(kind)
            if entry.name != "unknown"
        }
    return _fields_by_kind[kind]


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _checked(value: Any, kind: Any, at: str) -> Any:
    """Return a JSON value as a value of type `kind`; raise ValueError if it has another type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):  # only `X | None` is used
        (inner,) = (each for each in arguments if each is not NoneType)
        return None if value is None else _checked(value, inner, at)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{at} is {value!r}, not one of {', '.join(map(str, arguments))}")
        return value
    if origin is list and isinstance(value, list):
        return [_checked(each, arguments[0], f"{at}[{n}]") for n, each in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _checked(each, arguments[1], f"{at}.{key}") for key, each in value.items()}
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json(value, at)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if (kind is float and is_number) or type(value) is kind:
        return value
    expected = _JSON_NAMES.get(origin or kind, str(kind))
    raise ValueError(f"{at} is {_json_name(value)}, not {expected}")


def _json_name(value: Any) -> str:
    return _JSON_NAMES[type(value)]


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
