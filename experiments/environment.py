"""What a run depended on: versions, the state of the code, the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from modulefinder import ModuleFinder
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


def tell_what_changed(recipe: Recipe, saved: dict[str, Any]) -> None:
    """One line on stderr if a file of the user's is not what a run's environment.json says it was."""
    before, now = saved.get("user_source") or {}, _user_source(recipe)
    changed = [name for name, digest in before.items() if now.get(name) != digest]
    if changed:
        print(
            f"warning: {', '.join(changed)} in '{recipe.user_path}' changed since this run began; put back "
            "what it was, or set name=… to train the new code in a folder of its own",
            file=sys.stderr,
        )


def _user_source(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of each file in the user's folder that an import path names, and of those that it imports."""
    if recipe.user_path is None:
        return {}
    finder = ModuleFinder([recipe.user_path], excludes=["archs", "objectives", "experiments"])
    for path in recipe.import_paths:
        with suppress(ImportError):  # an installed package's
            finder.import_hook(path.rpartition(".")[0])
    found = (getattr(module, "__file__", None) for module in finder.modules.values())
    files = sorted({Path(file) for file in found if file})
    return {
        str(file.relative_to(recipe.user_path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
