"""A run's folder on disk: its files, its state, and which process may write it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from archs.errors import UserError
from experiments.recipe.config import flatten
from experiments.recipe.recipe import NOT_CONTENT, Recipe
from experiments.runs.locks import PASSING, exclusive, is_locked, try_lock
from experiments.storage.json_files import read_json, write_json
from experiments.storage.whole import append_line, remove_partial, write_whole

State = Literal["pending", "running", "trained", "done", "failed", "diverged"]


def settled(state: str, goal: State) -> bool:
    """Whether nothing is left to do for `goal`, "trained" or "done": it is reached, or the run diverged."""
    return state in (goal, "done", "diverged")


class RunFolder:
    """`runs/<sweep>/<arm>/seed<k>/`. Only `status.json` decides how far the run is:

    pending   not started
    running   in training, or killed there
    trained   has weights
    done      has weights and scores
    failed    stopped by an error; is tried again
    diverged  its loss diverged; is not tried again
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
        """Sets the state "failed", unless it cannot be written: a full disk must not hide the first error."""
        with suppress(UserError, OSError):
            self.set_status("failed", why=why)

    def is_(self, state: State) -> bool:
        return self.status["state"] == state

    def settled(self, goal: State) -> bool:
        return settled(self.status["state"], goal)

    @property
    def kept(self) -> bool:
        """Whether the folder holds any training, so that only the same recipe may continue in it."""
        return any(self.checkpoints.glob("*.ckpt")) or self.weights.exists() or self.is_("diverged")

    def check(self, recipe: Recipe) -> None:
        """Raises UserError if the folder holds training of another recipe. A failed start does not count."""
        if not (self.kept and self.recipe.exists()):
            return
        saved = Recipe.from_yaml(self.recipe)
        if saved.digest() != recipe.digest():
            differing = ", ".join(differences(saved, recipe))
            raise UserError(
                f"run folder '{self.path}' was made by another recipe: it differs in {differing}; set "
                "name=… or out=… for a new folder, or delete this one"
            )

    def claim(self, recipe: Recipe) -> None:
        """Writes the recipe into the folder. Raises UserError as `check` does, or if it cannot be written."""
        self._make()
        self.check(recipe)
        write_whole(self.recipe, recipe.as_yaml().encode())  # even of the same digest: its tracker may differ

    def require_trained(self) -> None:
        """Raises UserError unless the run has weights to evaluate."""
        if not (self.is_("trained") or self.is_("done")):
            raise UserError(
                f"'{self.path}' holds no trained run (state: {self.status['state']}); give a run's folder "
                "such as runs/five_families/decoder_ar/seed0, or train it first"
            )

    def remove_partial(self) -> None:
        """Deletes files that killed processes left half-written. Call it only while the folder is `alone`."""
        for folder in (self.path, self.checkpoints, self.scores):
            remove_partial(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Locks the folder while its files are written. Raises UserError if another process has locked it."""
        self._make()
        with exclusive(self.path / ".lock", self._in_use()):
            yield

    @contextmanager
    def to_itself(self) -> Iterator[None]:
        """As `taken`, for a command about this run only. Raises UserError if another process has the run."""
        with self.taken(timeout=PASSING) as taken:
            if not taken:
                raise self._in_use()
            yield

    def _in_use(self) -> UserError:
        return UserError(
            f"run folder '{self.path}' is in use by another process; wait until that has ended, or set "
            "name=… or out=… for a new folder"
        )

    @contextmanager
    def taken(self, timeout: float = 0.0) -> Iterator[bool]:
        """Yields True while this process has the run, from training to scores, or False if another has it.

        timeout: seconds to wait for it. Raises UserError if the file system has no locks.
        """
        self._make()
        with try_lock(self.path / ".taken", timeout) as taken:
            yield taken

    @property
    def held(self) -> bool:
        """Whether a process has the run now, from training to scores."""
        return is_locked(self.path / ".taken")

    def note(self, what: str) -> None:
        """Appends a line to attempts.jsonl: what this process did with the run. Raises FullDiskError.

        Call it only while the run is `taken`.
        """
        row = {"what": what, "host": platform.node(), "process": os.getpid(), "time": time.time()}
        append_line(self.path / "attempts.jsonl", json.dumps(row))

    def _make(self) -> None:
        """Makes the folder. Raises UserError if it cannot be written."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.scores.mkdir(exist_ok=True)
            (self.path / ".writable").touch()
            (self.path / ".writable").unlink(missing_ok=True)  # another process may have deleted it
        except OSError as error:
            raise UserError(
                f"run folder '{self.path}' cannot be written ({error.strerror}); set out=FOLDER to a place "
                "that can"
            ) from error


def runs_of(folder: Path) -> list[Path]:
    """Returns the folder itself if it is a run's, or the trained runs of a sweep's folder, by name.

    Raises UserError if there is no trained run.
    """
    if (folder / "status.json").exists() or not any(folder.glob("*/seed*")):
        RunFolder(folder).require_trained()
        return [folder]
    runs = [RunFolder(path) for path in sorted(folder.glob("*/seed*"))]
    trained = [run.path for run in runs if run.is_("trained") or run.is_("done")]
    if not trained:
        raise UserError(f"'{folder}' holds no trained run; train some: pentarch sweep {folder.name}")
    return trained


def check_folders(recipes: Iterable[Recipe], group: str) -> None:
    """Raises UserError if the folder of one of the recipes holds training of another recipe."""
    for recipe in recipes:
        RunFolder(recipe.folder(group)).check(recipe)


def differences(saved: Recipe, new: Recipe) -> list[str]:
    """Returns the keys in which two recipes differ, with both values."""
    there, now = (flatten(recipe.model_dump(mode="json", exclude=NOT_CONTENT)) for recipe in (saved, new))
    keys = [key for key in sorted(there | now) if there.get(key) != now.get(key)]
    return [f"{key} ({there.get(key)} there, {now.get(key)} now)" for key in keys]
