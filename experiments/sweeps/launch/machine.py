"""What this machine can divide among runs: memory, cores and GPUs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import torch

from experiments.budget.plan import plan_arm, planning_vocabulary
from experiments.recipe.build import build
from experiments.recipe.recipe import Recipe

BASE = 0.5e9  # bytes of a process after all imports of a run: measured, docs/clusters.md
BYTES = 16  # for each parameter: weight, gradient and AdamW's two moments, four bytes each


def memory_needed(recipe: Recipe) -> float:
    """Returns the least bytes that a process needs to train the recipe; activations come on top."""
    if torch.cuda.is_available() and recipe.training.accelerator != "cpu":
        return BASE
    plan = plan_arm(build(recipe), planning_vocabulary(recipe.size.vocabulary))
    parameters = plan.parameters.core + plan.parameters.embedding + plan.extra_parameters
    return (BASE + BYTES * parameters) * recipe.training.devices


def memory_free() -> float:
    """Returns the free bytes of this machine, or of the container if its limit is lower."""
    free = float(psutil.virtual_memory().available)
    limit, used = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))
    return free


def cores() -> int:
    """Returns the number of cores that this process may use; all cores where the system cannot tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [name for name in visible.split(",") if name not in ("", "-1")]
