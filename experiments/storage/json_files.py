"""JSON and JSON lines: written completely or not at all; a damaged file is a one-line error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from archs.errors import UserError
from experiments.storage.whole import write_whole


def write_json(path: Path, content: Any) -> None:
    """Writes the file completely or not at all. NaN and infinity become null, for JSON has neither."""
    text = json.dumps(_without_nan(content), indent=1, default=str, allow_nan=False)
    write_whole(path, text.encode())


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path) -> Any:
    """Returns the file's content, None if there is no such file. Raises UserError if it is damaged."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(
            f"'{path}' is cut short or damaged; delete it, and status.json beside it if it is a run's, and "
            "run the command that wrote it again"
        ) from error


def read_record(path: Path, *keys: str) -> dict[str, Any] | None:
    """Returns a JSON mapping, None if there is no such file. Raises UserError if it lacks one of the keys."""
    content = read_json(path)
    if content is None or (isinstance(content, dict) and set(keys) <= set(content)):
        return content
    raise UserError(
        f"'{path}' is damaged, or of another version: {', '.join(keys)} are expected in it; run the command "
        "that wrote it again"
    )


def read_tail(path: Path, size: int) -> bytes:
    """Returns the last `size` bytes of a file, b"" if there is no such file."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a .jsonl file, [] if there is no such file.

    A last line that a kill cut short is left out. Raises UserError if any other line is damaged.
    """
    if not path.exists():
        return []
    rows, lines = [], path.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UserError(f"'{path}', line {number} is damaged; delete that line") from error
    return rows
