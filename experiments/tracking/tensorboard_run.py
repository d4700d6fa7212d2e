"""Writes a run to TensorBoard's event files, in `tensorboard/` of the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from experiments.tracking.tracker import picture


class TensorBoardRun:
    """Numbers become scalars by optimiser step, texts and tables text, pictures images.

    start: the step that training resumes after. Later records of a killed run are dropped.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
        self._step = start

    def log(self, step: int, values: dict[str, Any]) -> None:
        self._step = step
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                self._writer.add_image(name, picture(value), step, dataformats="HW")
            elif isinstance(value, list):
                self._writer.add_text(name, _table(value), step)
            else:
                self._writer.add_scalar(name, value, step)

    def summary(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, self._step)
            else:
                self._writer.add_text(name, str(value), self._step)

    def model(self, folder: Path) -> None: ...

    def finish(self) -> None:
        self._writer.close()


def _table(rows: list[dict[str, str]]) -> str:
    """Returns a Markdown table, which TensorBoard renders."""
    if not rows:
        return "none"
    head = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    body = ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(head + body)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
