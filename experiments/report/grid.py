"""A table before it is HTML, Markdown or LaTeX, so that the three show the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """text, and under it what is smaller. kind: "good" or "bad" colour what the text says, "prose" wraps it.

    arm: whether the text is an arm's name, which the page draws beside its colour.
    """

    text: str
    small: str = ""
    kind: str = ""
    arm: bool = False


@dataclass(frozen=True)
class Grid:
    """The first cell of a row says what the row is about."""

    label: str
    heads: list[Cell]
    rows: list[list[Cell]] = field(default_factory=list)

    @classmethod
    def of(cls, label: str, heads: Sequence[str | Cell], rows: Sequence[Sequence[str | Cell]]) -> Grid:
        """Plain text where a cell is nothing more."""
        return cls(label, _cells(heads), [_cells(row) for row in rows])

    def left(self, column: int) -> bool:
        """Whether a column is of words, to be read from the left."""
        return any(kind in row[column].kind for row in self.rows for kind in ("prose", "verdict", "code"))

    def continues(self, row: int) -> bool:
        """Whether a row goes on with what the row before it is about."""
        return row > 0 and self.rows[row][0].text == self.rows[row - 1][0].text


def _cells(of: Sequence[str | Cell]) -> list[Cell]:
    return [Cell(each) if isinstance(each, str) else each for each in of]
