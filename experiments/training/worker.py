"""The program of one process that trains a run together with others (`processes` starts it)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.disk import FullDiskError
from experiments.storage.whole import write_whole
from experiments.training.health import DivergedError
from experiments.training.process import PROCESS, CrashedError, end_with
from experiments.training.signals import Stopped
from experiments.training.train import train

GRACE_SECONDS = 5.0


def main(parent: int, place: Path, folder: Path, group: str) -> None:
    """One process of a run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started us hears it too, and ends us
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    try:
        with suppress(DivergedError):  # status.json says it
            train(Recipe.from_yaml(place / "recipe.yaml"), folder, group)
    except Stopped as stop:
        sys.exit(stop.code)
    except CrashedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        try:
            write_whole(place / f"mistake{os.environ[PROCESS]}", str(error).encode())
        except (FullDiskError, OSError):  # there may be no room for temporary files
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:
        # A connection that another process's end has broken looks like an error of our own: if so, the one
        # that started us ends us here and says which process it was.
        time.sleep(GRACE_SECONDS)
        raise
    if RunFolder(folder).is_("diverged"):
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
