"""Shared by the kinds that read one text or a pair of texts."""

from __future__ import annotations

from experiments.tasks.kind import Example, text_of

TRUNCATION = "the longer text of an item first, from its end, to the model's window"


def texts_of(row: Example) -> Example:
    """Returns the roles text and, if present, text_pair. Raises ValueError if one is no text, or empty."""
    return {role: text_of(row, role) for role in ("text", "text_pair") if role in row}


def text(example: Example) -> str:
    return "\n".join(str(example[role]) for role in ("text", "text_pair") if role in example)
