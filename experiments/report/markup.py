"""Turns grids, lists and text into Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.report.grid import Cell, Grid


def table(grid: Grid) -> str:
    """A Markdown table, with small text in brackets."""
    lines = [grid.heads, [Cell("---")] * len(grid.heads), *grid.rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(cell: Cell) -> str:
    if cell.text == "---":
        return cell.text
    text = escaped(cell.text)
    return f"{text} ({escaped(cell.small)})" if cell.small else text


def listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def escaped(text: str) -> str:
    """The text on one line, with Markdown's special characters escaped."""
    text = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "|*_`<>#":
        text = text.replace(mark, f"\\{mark}")
    return text
