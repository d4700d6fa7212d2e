"""A run's folder on disk: what is in it, and how it is written: whole or not at all."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from archs.errors import UserError
from experiments.recipe import Recipe

State = Literal["pending", "running", "trained", "done", "failed"]


class RunFolder:
    """`runs/<sweep>/<arm>/seed<k>/`. `status.json` alone says how far the run is.

    pending, running, trained (weights are there), done (scores too), failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.weights = path / "model.safetensors"
        self.tokenizer = path / "tokenizer.json"
        self.audit = path / "audit.json"
        self.scores = path / "scores"

    @property
    def status(self) -> dict[str, Any]:
        return read_json(self.path / "status.json") or {"state": "pending"}

    def set_status(self, state: State, **more: Any) -> None:
        write_json(self.path / "status.json", {"state": state, "time": time.time(), **more})

    def is_(self, state: State) -> bool:
        return self.status["state"] == state

    def check(self, recipe: Recipe) -> None:
        """Raises UserError if the folder is another recipe's."""
        if not self.recipe.exists():
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
        try:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            self.scores.mkdir(exist_ok=True)
            (self.path / ".writable").touch()
            (self.path / ".writable").unlink()
        except OSError as error:
            raise UserError(
                f"run folder '{self.path}' cannot be written ({error.strerror}); set out=FOLDER to a place "
                "that can"
            ) from error
        self.check(recipe)
        if not self.recipe.exists():
            partial = self.recipe.with_suffix(".partial")
            recipe.to_yaml(partial)
            partial.replace(self.recipe)


def differences(one: Recipe, two: Recipe) -> list[str]:
    """The keys in which two recipes differ, with both values."""
    left, right = flatten(one.model_dump(mode="json")), flatten(two.model_dump(mode="json"))
    ignored = {"out", "name", "user_path"}
    keys = [key for key in sorted(left | right) if left.get(key) != right.get(key) and key not in ignored]
    return [f"{key} ({left.get(key)} there, {right.get(key)} now)" for key in keys]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    write_whole(path, json.dumps(content, indent=1, default=str).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all: written beside, flushed to disk, then put in place."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> Any:
    """None if there is no such file."""
    return json.loads(path.read_text()) if path.exists() else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A .jsonl file's rows, [] if there is none; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
