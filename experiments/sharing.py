"""Several processes at one sweep: each takes the runs that no other is at, and all end when all is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.folder import RunFolder

WAIT = 2.0  # seconds between looks at runs that others have

Work = Callable[[], None]  # does nothing where it is done already


def share(work: Mapping[Path, Work]) -> None:
    """Does what is to be done in each run's folder, in order, and waits for what other processes do."""
    left = dict(work)
    while left:
        elsewhere: dict[Path, Work] = {}
        for folder, do in left.items():
            with RunFolder(folder).taken() as mine:
                if mine:
                    do()
                else:
                    elsewhere[folder] = do
        if len(elsewhere) == len(left):
            time.sleep(WAIT)
        left = elsewhere
