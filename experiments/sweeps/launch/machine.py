"""What this machine has to divide: memory and GPUs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import torch

from experiments.budget.plan import plan_arm, planning_vocabulary
from experiments.recipe.build import build
from experiments.recipe.recipe import Recipe

BASE = 0.5e9  # bytes of a process that has imported what a run needs: measured, docs/clusters.md
BYTES = 16  # a parameter: weight, gradient and AdamW's two moments, four bytes each


def memory_needed(recipe: Recipe) -> float:
    """Bytes below which no process can train the recipe; activations come on top."""
    if torch.cuda.is_available() and recipe.training.accelerator != "cpu":
        return BASE
    plan = plan_arm(build(recipe), planning_vocabulary(recipe.size.vocabulary))
    parameters = plan.parameters.core + plan.parameters.embedding + plan.extra_parameters
    return (BASE + BYTES * parameters) * recipe.training.devices


def memory_free() -> float:
    """Bytes that processes started now may use: of this machine, or of the container it is."""
    free = float(psutil.virtual_memory().available)
    limit, used = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))
    return free


def cores() -> int:
    """That this process may use, where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them: those that this process may use."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [name for name in asked.split(",") if name not in ("", "-1")]
