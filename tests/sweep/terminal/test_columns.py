"""Tables fit their width: every cut is marked, and no value is lost."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from crate.config.label import short_names
from crate.sweep.terminal.columns import Column, fitted

NUMBERS = [f"{number / 7:.2f}" for number in range(6)]


def drawn(columns: list[Column], width: int) -> list[str]:
    """Return the lines of a table as the console of the project prints them."""
    out = io.StringIO()
    console = Console(file=out, width=width, soft_wrap=True, highlight=False)
    console.print(fitted(columns, width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def columns(number: int) -> list[Column]:
    keys = [
        Column(f"key{n}", [f"{v}e-{n}" for v in range(6)], is_swept=True) for n in range(number)
    ]
    return [
        Column("state", ["finished"] * 5 + ["failed"], moves=False),
        *keys,
        Column("epochs", ["2"] * 6, is_swept=True),
        Column("step", ["45/45"] * 6),
        Column("img/s", [str(1000 + n) for n in range(6)], drop=5, is_right=True),
        Column("beat", ["-"] * 6),
        Column("best", NUMBERS, is_right=True, moves=False),
        Column("why", [""] * 5 + ["RuntimeError: " + "word " * 40], drop=1, is_text=True),
    ]


@pytest.mark.parametrize("width", [200, 100, 80, 60])
@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_table_fits_and_keeps_every_swept_value_and_result(width, number):
    lines = drawn(columns(number), width)
    assert max(map(len, lines)) <= width, "\n".join(lines)
    text = " ".join(lines)
    for value in [*NUMBERS, *(f"{v}e-{n}" for v in range(6) for n in range(number))]:
        assert value in text, "\n".join(lines)
    assert "all rows: epochs=2, step: 45/45" in text and "beat" not in text
    assert ("img/s" in text) and ("1003" in text or "not shown in" in text)


def test_long_values_show_what_they_lost_and_stay_apart():
    paths = [f"/data/{'long' * 12}/run{number}/best.pt" for number in range(2)]
    lines = drawn([Column("init_from", paths, is_swept=True), Column("n", ["1", "2"])], 60)
    assert all("…" in line for line in lines[1:]) and lines[1][:55] != lines[2][:55]
    same = ["a" * 50 + middle + "b" * 50 for middle in "xy"]  # alike but for their middle
    assert not [line for line in drawn([Column("k", same, is_swept=True)], 110) if "…" in line]


def test_keys_are_named_by_the_shortest_ending_that_is_their_own():
    names = short_names(["model.depth", "data.depth", "seed", "data.seed", "train.epochs"])
    assert list(names.values()) == ["model.depth", "data.depth", "seed", "data.seed", "epochs"]
