"""CONTRIBUTING.md is true: two of its recipes are followed to the letter in a copy of the code."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crate.paths import CHECKOUT

PAGE = (CHECKOUT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```(\w+) (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COPIED = (
    "crate",
    "conf",
    "sweeps",
    "hydra_plugins",
    "tests",
    "docs",
    "launch.py",
    "pyproject.toml",
)
IGNORED = shutil.ignore_patterns("__pycache__", "outputs", ".*")


def edit(file: Path, diff: str) -> None:
    """Apply one block of a diff, whose lines that begin with "-" or " " are in the file."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = file.read_text()
    assert text.count(before) == 1, f"{file} does not hold this once:\n{before}"
    file.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    """Return a copy of the checkout with every block of the page that names a file applied."""
    folder = tmp_path_factory.mktemp("overlay")
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=IGNORED)
        else:
            shutil.copy(source, folder)
    for language, name, text in BLOCKS:
        if language == "python":
            assert not (folder / name).exists()
            (folder / name).write_text(text)
        elif language == "diff":
            edit(folder / name, text)
    return folder


def commands(recipe: str) -> list[list[str]]:
    """Return the command lines of a recipe, with this Python."""
    (text,) = [text for language, name, text in BLOCKS if (language, name) == ("sh", recipe)]
    return [[sys.executable, *shlex.split(line)[1:]] for line in text.splitlines()]


def follow(recipe: str, overlay: Path) -> list[str]:
    """Run the commands of a recipe; return what each printed."""
    printed = []
    for command in commands(recipe):
        done = subprocess.run(command, cwd=overlay, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    return printed


def test_the_new_files_of_the_recipes_pass_the_linter(overlay):
    names = [name for language, name, _ in BLOCKS if language in ("python", "diff")]
    assert len(names) == 7
    for words in (("check",), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *words, *names]
        done = subprocess.run(command, cwd=overlay, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_recipe_of_a_sparsifier_adds_one_that_is_built_priced_and_trained(overlay):
    tested, _, trained = follow("sparsifier", overlay)
    assert "passed" in tested and "1 epoch, " in trained
    assert "hard_threshold" in (overlay / "docs" / "configuration.md").read_text()


@pytest.mark.slow
def test_the_recipe_of_a_command_adds_one_that_reads_a_sweep(overlay):
    _, best = follow("command", overlay)
    value, file = re.fullmatch(r"val/top1 ([\d.]+)  (\S+)\n", best).groups()
    assert 0 < float(value) <= 100 and Path(file).is_file()
