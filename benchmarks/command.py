"""Shared by the command lines of benchmarks: checks of --rounds and --device, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from archs.errors import UserError


def rounds(number: int) -> int:
    """The number of rounds. Raises UserError for fewer than two."""
    if number < 2:
        raise UserError(f"--rounds {number}: give at least 2, so that there is a spread")
    return number


def device(name: str) -> torch.device:
    """The torch device. Raises UserError for "cuda" if torch finds no GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no GPU here; measure on the CPU, or run where there is one")
    return torch.device(name)


def run(main: Callable[[], int | None]) -> None:
    """Ends the process with main's exit code; for a UserError prints one line and exits with 2."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
