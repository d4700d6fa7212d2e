"""A table that is independent of HTML, Markdown and LaTeX, so that all three show the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """A cell.

    small: the smaller text below `text`. kind: "good" and "bad" colour the cell, "prose" wraps its text.

    arm: whether the text is an arm's name, which the page shows with the arm's colour.
    """

    text: str
    small: str = ""
    kind: str = ""
    arm: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. The first cell of a row names the subject of the row."""

    label: str
    heads: list[Cell]
    rows: list[list[Cell]] = field(default_factory=list)

    @classmethod
    def of(cls, label: str, heads: Sequence[str | Cell], rows: Sequence[Sequence[str | Cell]]) -> Grid:
        """Builds a grid in which a cell may be given as plain text."""
        return cls(label, _cells(heads), [_cells(row) for row in rows])

    def left(self, column: int) -> bool:
        """Whether a column holds words and is aligned to the left."""
        return any(kind in row[column].kind for row in self.rows for kind in ("prose", "verdict", "code"))

    def continues(self, row: int) -> bool:
        """Whether a row has the same subject as the row before it."""
        return row > 0 and self.rows[row][0].text == self.rows[row - 1][0].text


def _cells(cells: Sequence[str | Cell]) -> list[Cell]:
    return [Cell(cell) if isinstance(cell, str) else cell for cell in cells]
