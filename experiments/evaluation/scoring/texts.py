"""Reads texts to score from a file, one on each line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archs.errors import UserError, unknown
from experiments.data.sources.files import lines


def read_texts(file: Path) -> list[tuple[str, str]]:
    """(context, text) of each line.

    A line of a .jsonl file is {"text": …, "context": …}; the context may be left out and is "" then. A line
    of a .txt file is a text without context. Raises UserError, naming the line, for an empty line and for
    other JSON.
    """
    if file.suffix not in (".jsonl", ".txt"):
        raise UserError(f"'{file}' is neither .jsonl nor .txt; give one JSON object or one text a line")
    texts = list(lines(file))
    if not texts[-1]:
        del texts[-1]  # the empty rest after the last line end
    read = _object if file.suffix == ".jsonl" else _plain
    return [read(line, f"'{file}', line {number}") for number, line in enumerate(texts, start=1)]


def _plain(line: str, where: str) -> tuple[str, str]:
    if not line:
        raise UserError(f"{where} is empty: nothing to score; delete the line")
    return "", line


def _object(line: str, where: str) -> tuple[str, str]:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f'{where} is not JSON ({error.msg}); a line is {{"text": …, "context": …}}'
        ) from error
    except RecursionError as error:
        raise UserError(f'{where} is nested too deeply; a line is {{"text": …, "context": …}}') from error
    if not isinstance(row, dict) or "text" not in row:
        raise UserError(f'{where} has no "text"; a line is {{"text": …, "context": …}}')
    for key, value in row.items():
        if key not in ("text", "context"):
            raise unknown(f"key in {where}:", key, ("text", "context"))
        if not isinstance(value, str):
            raise UserError(f"{where} has {value!r} as {key}; write it as a string")
    if not row["text"]:
        raise UserError(f"{where} has an empty text: nothing to score; delete the line")
    return row.get("context", ""), row["text"]
