"""Uploads a W&B run in a process of its own, while training writes the run.

`Upload` starts and ends that process; `main` is what it runs. It is started as a script, which imports
nothing of this repository. Its standard input tells it when training ends, because only training holds that
open: it reads "finished" and the end if training finished, and only the end if training was killed. In both
cases it ends itself soon after.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

PATIENCE = 4.0  # seconds that training waits for the upload at its end
FINISHED, KILLED = 300.0, 30.0  # seconds that an upload goes on after training has finished, or was killed
# Variables of the training process that must not reach the upload: they name its own run and service.
NOT_OURS = ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_MODE")
# Kept here, because Python warns of a running process whose object is lost.
_running: list[subprocess.Popen[bytes]] = []


class Upload:
    """The upload of one fragment of a W&B run, `wandb/offline-run-…`, seen from the training process."""

    def __init__(self, fragment: Path) -> None:
        self.fragment = fragment
        self._reported = False
        with (fragment.parent / "upload.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(fragment)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # W&B's command keeps its own files in the run's folder, not in the user's.
                env={name: value for name, value in os.environ.items() if name not in NOT_OURS}
                | {"WANDB_DIR": str(fragment.absolute().parents[1])},
                start_new_session=True,  # so that Ctrl-C does not reach it, and its group can be killed
            )
        _running.append(self._process)

    def warn_if_ended(self) -> None:
        """Prints a warning to stderr if the upload has given up, because the key was refused, say."""
        if self._process.poll() is not None and not self._reported and not uploaded(self.fragment):
            self._warn("stopped")

    def finish(self) -> None:
        """Waits PATIENCE seconds for the upload to end. Prints a warning if it has not ended by then."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"finished")
            self._process.stdin.flush()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._warn(f"goes on for {FINISHED / 60:.0f} minutes at most")
        else:
            _running.remove(self._process)
            self.warn_if_ended()

    def _warn(self, what: str) -> None:
        self._reported = True
        command = shlex.join(["wandb", "beta", "sync", str(self.fragment.parent)])
        print(
            f"W&B: the upload {what}, see {self.fragment.parent / 'upload.log'}; nothing is lost, this "
            f"uploads what is missing: {command}",
            file=sys.stderr,
        )


def uploaded(fragment: Path) -> bool:
    return any(fragment.glob("*.wandb.synced"))


def main(fragment: Path) -> None:
    """Uploads earlier fragments that are not uploaded yet, then this one while it is written."""
    threading.Thread(target=_leave_after_training, daemon=True).start()
    # One upload at a time for a run: each fragment continues the one before.
    with FileLock(fragment.parent / ".upload"):
        for other in sorted(fragment.parent.glob("offline-run-*")):
            if other.name <= fragment.name and not uploaded(other):
                _sync(other, live=other == fragment)


def _sync(fragment: Path, live: bool) -> None:
    """Runs W&B's own command. live: it waits for what is not written yet."""
    command = [sys.executable, "-P", "-m", "wandb", "beta", "sync", *(["--live"] if live else [])]
    subprocess.run([*command, str(fragment)], stdin=subprocess.DEVNULL, check=False)


def _leave_after_training() -> None:
    """Waits until training ends, and kills this process and its children some time later."""
    finished = bool(sys.stdin.buffer.read())
    time.sleep(FINISHED if finished else KILLED)
    print("ended before all was uploaded", flush=True)
    os.killpg(0, signal.SIGKILL)  # W&B's command and service too, which would go on for hours


if __name__ == "__main__":
    main(Path(sys.argv[1]))
