"""A run's folder on disk: what is in it, and how it is written: whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from archs.errors import UserError
from experiments.recipe.config import flatten
from experiments.recipe.recipe import NOT_CONTENT, Recipe
from experiments.storage.whole import append_line, remove_partial, write_whole

if TYPE_CHECKING:
    pass
from experiments.storage.json_files import read_json, write_json

# Seconds for which a lock may be held that nobody means to keep: by who looks whether a run is taken, or by a
# process of many threads that was killed and is still being taken down.
PASSING = 3.0

State = Literal["pending", "running", "trained", "done", "failed", "diverged"]


def settled(state: str, goal: State) -> bool:
    """Whether nothing is left to do until `goal`, "trained" or "done": it is reached, or never will be."""
    return state in (goal, "done", "diverged")


class RunFolder:
    """`runs/<sweep>/<arm>/seed<k>/`. `status.json` alone says how far the run is.

    pending, running, trained (weights are there), done (scores too), failed (tried again), diverged (not).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.weights = path / "model.safetensors"
        self.tokenizer = path / "tokenizer.json"
        self.audit = path / "audit.json"
        self.scores = path / "scores"
        self.tasks = path / "tasks"
        self.log = path / "log.txt"

    @property
    def status(self) -> dict[str, Any]:
        return read_json(self.path / "status.json") or {"state": "pending"}

    def set_status(self, state: State, **more: Any) -> None:
        write_json(self.path / "status.json", {"state": state, "time": time.time(), **more})

    def set_failed(self, why: str) -> None:
        """If it can be written: what went wrong, such as a full disk, is to be told all the same."""
        with suppress(UserError, OSError):
            self.set_status("failed", why=why)

    def is_(self, state: State) -> bool:
        return self.status["state"] == state

    def settled(self, goal: State) -> bool:
        return settled(self.status["state"], goal)

    @property
    def kept(self) -> bool:
        """Whether any training is kept here, so that only the same recipe may go on."""
        return any(self.checkpoints.glob("*.ckpt")) or self.weights.exists() or self.is_("diverged")

    def check(self, recipe: Recipe) -> None:
        """Raises UserError if the folder keeps another recipe's training; a failed start may be mended."""
        if not (self.kept and self.recipe.exists()):
            return
        there = Recipe.from_yaml(self.recipe)
        if there.digest() != recipe.digest():
            differing = ", ".join(differences(there, recipe))
            raise UserError(
                f"run folder '{self.path}' was made by another recipe: it differs in {differing}; set "
                "name=… or out=… for a new folder, or delete this one"
            )

    def claim(self, recipe: Recipe) -> None:
        """Makes the folder this recipe's. Raises UserError if it is another's, or cannot be written."""
        self._make()
        self.check(recipe)
        write_whole(self.recipe, recipe.as_yaml().encode())  # who watches it may be another than before

    def require_trained(self) -> None:
        """Raises UserError unless there are weights to be asked."""
        if not (self.is_("trained") or self.is_("done")):
            raise UserError(
                f"'{self.path}' holds no trained run (state: {self.status['state']}); give a run's folder "
                "such as runs/five_families/decoder_ar/seed0, or train it first"
            )

    def remove_partial(self) -> None:
        """What killed processes left half-written. For who has the folder `alone`."""
        for folder in (self.path, self.checkpoints, self.scores):
            remove_partial(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Held while the folder is written. Raises UserError if another process holds it."""
        self._make()
        try:
            with FileLock(self.path / ".lock", timeout=PASSING):
                yield
        except Timeout as error:
            raise self._in_use() from error

    @contextmanager
    def to_itself(self) -> Iterator[None]:
        """Has the run from training to scores, for a command that is about this run alone.

        Raises UserError if another process has it.
        """
        with self.taken(timeout=PASSING) as mine:
            if not mine:
                raise self._in_use()
            yield

    def _in_use(self) -> UserError:
        return UserError(
            f"run folder '{self.path}' is in use by another process; wait until that has ended, or set "
            "name=… or out=… for a new folder"
        )

    @contextmanager
    def taken(self, timeout: float = 0.0) -> Iterator[bool]:
        """Whether this process has the run to itself, from training to scores; False if another has.

        timeout: seconds to wait for it. Raises UserError where the file system has no locks.
        """
        self._make()
        lock = FileLock(self.path / ".taken", fallback_to_soft=False)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            yield False
            return
        except (NotImplementedError, OSError) as error:
            raise UserError(
                f"the file system of '{self.path}' has no file locks ({error}), without which two processes "
                "could train one run; set out=FOLDER to one that has, such as NFS 4"
            ) from error
        try:
            yield True
        finally:
            lock.release()

    @property
    def held(self) -> bool:
        """Whether a process has the run at this moment; writes nothing, for it may be somebody else's."""
        if not (self.path / ".taken").exists():
            return False
        lock = FileLock(self.path / ".taken", fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:  # a folder that may only be read: its status.json is all that can be known
            return True
        lock.release()
        return False

    def note(self, what: str) -> None:
        """One line in attempts.jsonl: who did what with this run. Only whoever has it to itself writes.

        Raises FullDiskError.
        """
        row = {"what": what, "host": platform.node(), "process": os.getpid(), "time": time.time()}
        append_line(self.path / "attempts.jsonl", json.dumps(row))

    def _make(self) -> None:
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.scores.mkdir(exist_ok=True)
            (self.path / ".writable").touch()
            (self.path / ".writable").unlink(missing_ok=True)  # of several processes one is the first
        except OSError as error:
            raise UserError(
                f"run folder '{self.path}' cannot be written ({error.strerror}); set out=FOLDER to a place "
                "that can"
            ) from error


def runs_of(folder: Path) -> list[Path]:
    """The folder itself, a run's; or the trained runs of a sweep's folder, in the order of their names.

    Raises UserError if there is none.
    """
    if (folder / "status.json").exists() or not any(folder.glob("*/seed*")):
        RunFolder(folder).require_trained()
        return [folder]
    found = [RunFolder(path) for path in sorted(folder.glob("*/seed*"))]
    trained = [run.path for run in found if run.is_("trained") or run.is_("done")]
    if not trained:
        raise UserError(f"'{folder}' holds no trained run; train some: pentarch sweep {folder.name}")
    return trained


def check_folders(recipes: Iterable[Recipe], group: str) -> None:
    """Raises UserError if a run's folder keeps another recipe's training."""
    for recipe in recipes:
        RunFolder(recipe.folder(group)).check(recipe)


def differences(one: Recipe, two: Recipe) -> list[str]:
    """The keys in which two recipes differ, with both values."""
    left, right = (flatten(each.model_dump(mode="json", exclude=NOT_CONTENT)) for each in (one, two))
    keys = [key for key in sorted(left | right) if left.get(key) != right.get(key)]
    return [f"{key} ({left.get(key)} there, {right.get(key)} now)" for key in keys]
