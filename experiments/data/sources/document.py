"""One text of a corpus, and the errors for rows that hold no text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from archs.errors import UserError


@dataclass(frozen=True)
class Document:
    """One text. `meta` holds what the source knows about it. Two of its keys change the split:

    era     each era is split by itself (stratification)
    group   documents of one group stay in one split (two addresses of one president in one year)
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
