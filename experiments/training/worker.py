"""The program of one of several processes that train a run together. `processes` starts it."""

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

GRACE_SECONDS = 5.0  # for the process that started this one to end it


def main(parent: int, place: Path, folder: Path, group: str) -> None:
    """Trains process PENTARCH_PROCESS's share of the run, and exits with a code that tells how it ended.

    parent: id of the process that started this one; place: folder with recipe.yaml, for messages to it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this one
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    try:
        with suppress(DivergedError):  # status.json says so
            train(Recipe.from_yaml(place / "recipe.yaml"), folder, group)
    except Stopped as stop:
        sys.exit(stop.code)
    except CrashedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        try:
            write_whole(place / f"mistake{os.environ[PROCESS]}", str(error).encode())
        except (FullDiskError, OSError):  # the disk of temporary files may be full
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:
        # If another process died, its broken connection looks like an error of this one. Then the parent ends
        # this process while it waits here, and reports the one that died.
        time.sleep(GRACE_SECONDS)
        raise
    if RunFolder(folder).is_("diverged"):
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
