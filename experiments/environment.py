"""What a run depended on: versions, the state of the code, the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.recipe import Recipe

LIBRARIES = ("pentarch", "torch", "lightning", "tokenizers", "numpy", "hydra-core", "pydantic", "wandb")


def environment(recipe: Recipe) -> dict[str, Any]:
    """Saved beside every run."""
    import torch

    return {
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "git": _git(Path(__file__).parent),
        "user_source": _user_source(recipe),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed wheel has no history


def _user_source(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of each module that the recipe names by import path, if it is a file in the user's folder."""
    if recipe.user_path is None:
        return {}
    found = {}
    for name in recipe.import_paths:
        file = Path(recipe.user_path, *name.split(".")[:-1]).with_suffix(".py")
        if file.is_file():
            found[str(file.relative_to(recipe.user_path))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found
