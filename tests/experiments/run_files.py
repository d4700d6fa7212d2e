"""What a run's folder holds, without what the clock decides."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from experiments.storage.json_files import read_lines

CLOCK = ("seconds", "tokens_per_second")


def rows(folder: Path) -> list[dict]:
    """metrics.jsonl without what the clock decides."""
    return [
        {key: value for key, value in row.items() if key not in CLOCK}
        for row in read_lines(folder / "metrics.jsonl")
    ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def assert_same_to_the_last_bit(one: Path, two: Path) -> None:
    assert rows(one) == rows(two)
    left, right = weights(one), weights(two)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def cut(path: Path) -> None:
    """To half of what it was."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class KilledError(Exception):
    pass
