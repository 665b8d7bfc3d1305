"""A file's digest changes with what its code does, and only with that, on every Python."""

from __future__ import annotations

import textwrap

import pytest

from crate.run.syntax import read

CODE = '''
    """About the module."""
    import a.b, c
    from . import d
    from ..e import f as g

    class A(a.Base, key=1):
        x: int = 1

        @g
        async def method(self, *args, y=None, **kwargs) -> "str":
            """About the method."""
            if (n := len(args)) > 1 and not y:
                return f"{n!r:>{y}} of" f" {self.x:}" "." + 'it\\'s'
            match y:
                case [1, *_] | {"k": None}:
                    yield b"0", 1e-3, 1j, ..., -1
            lambda z: [w for w in z if w]
'''
SAME = '''
    import a.b, c  # a comment
    from . import d
    from ..e import f as g


    class A(a.Base, key=1):
        """Now with a docstring."""

        x: int = 1

        @g
        async def method(self, *args, y=None, **kwargs) -> "str":
            if (n := len(args)) > 1 and not y:
                return (
                    f'{n!r:>{y}} of {self.x:}.'
                    + "it's"
                )
            match y:
                case [1, *_] | {"k": None}:
                    yield b'0', 0.001, 1j, ..., - 1
            lambda z: [
                w
                for w in z
                if w
            ]
'''
# The digest of CODE on Python 3.11.7, 3.12.1 and 3.13.0.
DIGEST = "48d093d85f88"


@pytest.fixture
def digest(tmp_path):
    def digest_of(text: str) -> str:
        (tmp_path / "file.py").write_text(textwrap.dedent(text))
        return read(tmp_path / "file.py").digest

    return digest_of


def test_the_digest_is_the_same_on_every_python_and_in_every_format(digest):
    assert digest(CODE) == digest(SAME) == DIGEST


def test_every_change_of_what_the_code_does_changes_the_digest(digest):
    changes = {
        "import a.b, c": "import a.b",
        "from . import d": "from .. import d",
        "as g": "as h",
        "key=1": "key=1.0",
        "x: int = 1": "x: int = True",
        "@g": "@c",
        "async def": "def",
        "*args, y=None": "y=None, *args",
        "> 1 and": ">= 1 and",
        "not y": "y",
        "!r": "!s",
        " of": " off",
        'b"0"': "'0'",
        "-1": "+1",
        "if w]": "]",
        "case [1, *_] |": "case [1] |",
    }
    digests = {digest(CODE)}
    for old, new in changes.items():
        assert CODE.count(old) >= 1, old
        digests.add(digest(CODE.replace(old, new, 1)))
    assert len(digests) == len(changes) + 1


def test_a_file_that_is_no_python_counts_by_its_bytes_and_a_missing_one_is_none(tmp_path, digest):
    assert digest("def f(:  # a") != digest("def f(:  # b")
    assert read(tmp_path / "nowhere.py") is None


def test_import_statements_are_found_wherever_they_stand(tmp_path):
    file = tmp_path / "file.py"
    file.write_text("import a.b\ndef f():\n    if 1:\n        from ..c import d, e\n")
    assert list(read(file).imports) == [(0, "a.b", ()), (2, "c", ("d", "e"))]
