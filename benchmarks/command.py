"""What the command lines of benchmarks share: how often they measure, how a mistake of the user's ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

from archs.errors import UserError


def rounds(number: int) -> int:
    """Raises UserError for fewer than two."""
    if number < 2:
        raise UserError(f"--rounds {number}: give at least 2, so that there is a spread")
    return number


def run(main: Callable[[], int | None]) -> None:
    """Ends the process with main's exit code; with 2 and one line for a mistake of the user's."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
