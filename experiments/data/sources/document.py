"""One text, and what a source says when a row holds none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from archs.errors import UserError


@dataclass(frozen=True)
class Document:
    """One text. `meta` holds what the source knows of it; two of its keys steer the split:

    era     documents of one era are split among themselves (stratification)
    group   documents of one group never part (two addresses of one president in one year)
    """

    text: str
    id: str
    meta: dict[str, Any] = field(default_factory=dict)


def missing_column(where: str, column: str, columns: list[str]) -> UserError:
    return UserError(
        f"{where} has no column '{column}'; it has: {', '.join(map(str, columns))}; "
        "set data.text_column to one of them"
    )


def not_text(where: str, number: int, column: str, value: object) -> UserError:
    return UserError(
        f"{where}, row {number}: column '{column}' holds {type(value).__name__}, not a string; "
        "drop such rows or name another data.text_column"
    )
