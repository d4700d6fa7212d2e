"""The process that uploads a W&B run while it is written, and what training holds of it.

Started as a script of its own, which imports nothing of this repository. It learns of the end of training by
its standard input, which training alone holds open: a mark, then the end, if training finished; the end
without a mark if it was killed. Either way it ends itself soon after.
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

PATIENCE = 4.0  # seconds that training waits at its end
FINISHED, KILLED = 300.0, 30.0  # seconds that an upload goes on after training has finished, or was killed
# Of the run, or of a service, that the training process has to itself.
NOT_OURS = ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_MODE")
_running: list[subprocess.Popen[bytes]] = []  # held here, whatever becomes of the tracker: a lost one warns


class Upload:
    """The upload of one fragment of a W&B run, `wandb/offline-run-…`, as training sees it."""

    def __init__(self, fragment: Path) -> None:
        self.fragment = fragment
        self._told = False
        with (fragment.parent / "upload.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(fragment)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # What W&B's command keeps for itself lies in the run's folder, not where the user is.
                env={name: value for name, value in os.environ.items() if name not in NOT_OURS}
                | {"WANDB_DIR": str(fragment.absolute().parents[1])},
                start_new_session=True,  # an interrupt is for training; and a group of its own, to end
            )
        _running.append(self._process)

    def tell_if_it_ended(self) -> None:
        """A line on stderr if the upload has given up: the key is refused, say."""
        if self._process.poll() is not None and not self._told and not uploaded(self.fragment):
            self._tell("stopped")

    def finish(self) -> None:
        """Lets the upload end, waiting PATIENCE seconds; one line if it has not by then."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"finished")
            self._process.stdin.flush()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._tell(f"goes on for {FINISHED / 60:.0f} minutes at most")
        else:
            _running.remove(self._process)
            self.tell_if_it_ended()

    def _tell(self, what: str) -> None:
        self._told = True
        later = shlex.join(["wandb", "beta", "sync", str(self.fragment.parent)])
        print(
            f"W&B: the upload {what}, see {self.fragment.parent / 'upload.log'}; nothing is lost, this "
            f"uploads what is missing: {later}",
            file=sys.stderr,
        )


def uploaded(fragment: Path) -> bool:
    return any(fragment.glob("*.wandb.synced"))


def main(fragment: Path) -> None:
    """Uploads the fragments before this one that are not uploaded, then this one while it is written."""
    threading.Thread(target=_leave_after_training, daemon=True).start()
    # One upload a run: a later fragment continues what an earlier one has uploaded.
    with FileLock(fragment.parent / ".upload"):
        for each in sorted(fragment.parent.glob("offline-run-*")):
            if each.name <= fragment.name and not uploaded(each):
                _sync(each, live=each == fragment)


def _sync(fragment: Path, live: bool) -> None:
    """W&B's own command. live: it waits for what is not written yet."""
    command = [sys.executable, "-P", "-m", "wandb", "beta", "sync", *(["--live"] if live else [])]
    subprocess.run([*command, str(fragment)], stdin=subprocess.DEVNULL, check=False)


def _leave_after_training() -> None:
    finished = bool(sys.stdin.buffer.read())
    time.sleep(FINISHED if finished else KILLED)
    print("ended before all was uploaded", flush=True)
    os.killpg(0, signal.SIGKILL)  # with W&B's command and its service, which would go on for hours


if __name__ == "__main__":
    main(Path(sys.argv[1]))
