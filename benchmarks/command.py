"""What the command lines of benchmarks share: how often and where they measure, how a user's mistake ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from archs.errors import UserError


def rounds(number: int) -> int:
    """Raises UserError for fewer than two."""
    if number < 2:
        raise UserError(f"--rounds {number}: give at least 2, so that there is a spread")
    return number


def device(name: str) -> torch.device:
    """Raises UserError for a GPU where torch finds none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no GPU here; measure on the CPU, or run where there is one")
    return torch.device(name)


def run(main: Callable[[], int | None]) -> None:
    """Ends the process with main's exit code; with 2 and one line for a mistake of the user's."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
