"""Tables that fit the width of the terminal.

A column with equal cells becomes a line above the table, long values are shortened and show `…`,
and columns that do not fit are dropped and named below the table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

NOTHING = ("", "-")  # cells without information
GAP = 2  # characters between two columns
SHORTEST_TEXT = 16  # characters that a column of free text needs to be worth showing


@dataclass(frozen=True)
class Column:
    """One column: its name and one cell for each row."""

    name: str
    cells: Sequence[str]
    drop: int = 0  # the column with the highest number is dropped first; 0: never
    moves: bool = True  # becomes a line above the table if all cells are equal
    is_swept: bool = False  # values of a swept key: shortened in the middle
    is_text: bool = False  # free text: takes the remaining width, shortened at its end
    is_right: bool = False
    styles: Sequence[str] | None = None

    @property
    def width(self) -> int:
        """The characters of the widest line."""
        lines = [line for cell in self.cells for line in cell.split("\n")]
        return max(map(cell_len, [self.name, *lines]))

    @property
    def needed(self) -> int:
        """The characters that the column takes at least."""
        return min(self.width, SHORTEST_TEXT) if self.is_text else self.width

    def shortened(self, width: int) -> Column:
        """Return the column with values of at most `width`; unchanged if two would look alike."""
        cells = [_middle(cell, width) for cell in self.cells]
        alike = len(set(cells)) < len(set(self.cells))
        return self if alike or not self.is_swept else replace(self, cells=cells)


def fitted(columns: Sequence[Column], width: int) -> Group:
    """Return a table of at most `width` characters, with lines above and below it."""
    columns, above = _move_equal(columns)
    columns, dropped = _narrow(columns, width)
    if _total(columns) > width:
        columns = _merge_swept(columns, width)
    notes = f"not shown in {width} columns: {', '.join(dropped)}" if dropped else ""
    lines = [Text(line, style="dim") for line in wrapped(above, width)]
    return Group(*lines, _draw(columns, width), *(Text(line) for line in wrapped(notes, width)))


def _move_equal(columns: Sequence[Column]) -> tuple[list[Column], str]:
    """Remove columns without information; return the others, and the line of equal columns."""
    kept, equal = [], []
    for column in columns:
        values = set(column.cells)
        if values <= set(NOTHING):
            continue
        if column.moves and len(values) == 1 and len(column.cells) > 1:
            sign = "=" if column.is_swept else ": "
            equal.append(f"{column.name}{sign}{column.cells[0]}")
        else:
            kept.append(column)
    return kept, f"all rows: {', '.join(equal)}" if equal else ""


def _narrow(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """Shorten values, drop columns by priority, and shorten more, until the table fits.

    Return the columns, and the names of those that were dropped.
    """
    dropped: list[str] = []
    for limit in (40, 24):
        if _total(columns) > width:
            columns = [column.shortened(limit) for column in columns]
    while _total(columns) > width and any(column.drop for column in columns):
        first = max(columns, key=lambda column: column.drop)
        columns = [column for column in columns if column is not first]
        dropped.append(first.name)
    for limit in (16, 10):
        if _total(columns) > width:
            columns = [column.shortened(limit) for column in columns]
    return columns, dropped


def _merge_swept(columns: list[Column], width: int) -> list[Column]:
    """Merge the values of all swept keys into one column, wrapped between values."""
    swept = [column for column in columns if column.is_swept]
    if not swept:
        return columns
    others = [column for column in columns if not column.is_swept]
    left = max(SHORTEST_TEXT, width - _total(others) - GAP)
    cells = []
    for values in zip(*(column.cells for column in swept), strict=True):
        pairs = [f"{column.name}={value}" for column, value in zip(swept, values, strict=True)]
        cells.append("\n".join(wrapped(" ".join(_middle(pair, left) for pair in pairs), left)))
    merged, at = Column("run", cells), columns.index(swept[0])
    return [*columns[:at], merged, *(c for c in columns[at:] if not c.is_swept)]


def _total(columns: Sequence[Column]) -> int:
    return sum(column.needed for column in columns) + GAP * (len(columns) - 1)


def _draw(columns: list[Column], width: int) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        side: Literal["left", "right"] = "right" if column.is_right else "left"
        drawn.add_column(Text(column.name), justify=side, no_wrap=True)
    widths = _text_widths(columns, width)
    for row in range(len(columns[0].cells) if columns else 0):
        cells = []
        for number, column in enumerate(columns):
            text, style = column.cells[row], column.styles[row] if column.styles else ""
            cells.append(Text(_end(text, widths.get(number, len(text))), style=style))
        drawn.add_row(*cells)
    return drawn


def _text_widths(columns: list[Column], width: int) -> dict[int, int]:
    """Return the widths of the text columns by index; they share what the others leave."""
    texts = [number for number, column in enumerate(columns) if column.is_text]
    left, widths = max(width - _total(columns), 0), {}
    for done, number in enumerate(sorted(texts, key=lambda number: columns[number].width)):
        column, share = columns[number], left // (len(texts) - done)
        widths[number] = min(column.width, column.needed + share)
        left -= widths[number] - column.needed
    return widths


def _middle(text: str, width: int) -> str:
    """Return a text shortened to `width` characters, with `…` in its middle."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _end(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text, broken only between words."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
