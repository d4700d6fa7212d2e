"""Records what a run depends on (versions, code, machine) and warns if it has changed since."""

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

from experiments.recipe.recipe import Recipe

LIBRARIES = ("pentarch", "torch", "lightning", "tokenizers", "numpy", "hydra-core", "pydantic", "wandb")

# Another version of these may add numbers in another order, so that results differ in their last bits.
DECIDES_BITS = ("pentarch", "torch", "lightning", "tokenizers", "numpy")


def environment(recipe: Recipe) -> dict[str, Any]:
    """Returns the content of environment.json."""
    import torch

    from archs.core.matrix_products import onednn_is_exact

    return {
        **software(),
        "git": _git(Path(__file__).parent),
        "user_source": _user_source(recipe),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "products": "onednn" if onednn_is_exact() else "default",  # of float32 on a CPU
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def software() -> dict[str, Any]:
    """Returns the versions of Python and the libraries that run now."""
    return {"python": platform.python_version(), "libraries": {name: _version(name) for name in LIBRARIES}}


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
    """Prints a warning to stderr if a file of the user's has changed since environment.json was saved."""
    before, now = saved.get("user_source") or {}, _user_source(recipe)
    changed = [name for name, digest in before.items() if now.get(name) != digest]
    if changed:
        print(
            f"warning: {', '.join(changed)} in '{recipe.user_path}' changed since this run began; put back "
            "what it was, or set name=… to train the new code in a folder of its own",
            file=sys.stderr,
        )


def versions(environment: dict[str, Any]) -> dict[str, str]:
    """Returns the versions in an environment.json that can change the last bits of results.

    What the file does not record is left out.
    """
    libraries = environment.get("libraries") or {}
    recorded = {"python": environment.get("python"), **{name: libraries.get(name) for name in DECIDES_BITS}}
    return {name: str(value) for name, value in recorded.items() if value is not None}


def machine(environment: dict[str, Any]) -> dict[str, str]:
    """Returns the facts about the machine in an environment.json that can change the last bits."""
    return {name: str(environment[name]) for name in ("threads", "device", "products") if name in environment}


def changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Returns the values that differ, in words. A value that only one of the two has is no change."""
    return [
        f"{name} ({value} before, {now[name]} now)"
        for name, value in before.items()
        if now.get(name, value) != value
    ]


def tell_versions(before: dict[str, Any], now: dict[str, Any], step: int) -> None:
    """Prints a warning to stderr if a run resumes at this step with other versions or on another machine."""
    changed = changes(versions(before) | machine(before), versions(now) | machine(now))
    if changed:
        print(
            f"warning: changed since step {step} was trained: {', '.join(changed)}; the run goes on, but not "
            "to the same bits as without the change; put it back for those",
            file=sys.stderr,
        )


def tell_scored_elsewhere(trained: dict[str, Any]) -> None:
    """Prints a warning to stderr if the versions are other than in `trained`, the run's environment.json."""
    changed = changes(versions(trained), versions(software()))
    if changed:
        print(
            f"warning: changed since this run was trained: {', '.join(changed)}; what it says may differ in "
            "the last bits",
            file=sys.stderr,
        )


def resumed_environment(before: dict[str, Any], now: dict[str, Any], step: int) -> dict[str, Any]:
    """Returns the new environment.json of a run that resumes at `step`: `now`, and what it was before.

    before: the old environment.json. Where it differs from `now`, two keys are added: `trained_before`, a
    list of versions and machines, each with `until_step`; and `user_source_before`, the earlier hashes of the
    user's files.
    """
    spans = [*before.get("trained_before", []), {"until_step": step, **versions(before), **machine(before)}]
    kept: list[dict[str, Any]] = []
    for span in spans:
        # After an older checkpoint is resumed, the steps after it are trained again, so they are forgotten.
        span = {**span, "until_step": min(span["until_step"], step)}
        begun = kept[-1]["until_step"] if kept else 0
        if span["until_step"] > begun:
            same = kept and {**span, "until_step": begun} == kept[-1]
            kept = [*(kept[:-1] if same else kept), span]
    if kept and not changes(kept[-1], versions(now) | machine(now)):
        kept.pop()
    sources = before.get("user_source_before", [])
    if before.get("user_source", now["user_source"]) != now["user_source"]:
        sources = [*sources, before["user_source"]]
    more = {"trained_before": kept, "user_source_before": sources}
    return now | {name: value for name, value in more.items() if value}


def _user_source(recipe: Recipe) -> dict[str, str]:
    """Returns {file: SHA-256} of the user's files that import paths name, and of those that they import."""
    if recipe.user_path is None:
        return {}
    finder = ModuleFinder([recipe.user_path], excludes=["archs", "objectives", "experiments"])
    for path in recipe.import_paths:
        with suppress(ImportError):  # it names an installed package
            finder.import_hook(path.rpartition(".")[0])
    names = (getattr(module, "__file__", None) for module in finder.modules.values())
    files = sorted({Path(name) for name in names if name})
    return {
        str(file.relative_to(recipe.user_path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
