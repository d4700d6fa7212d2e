"""Processes that tests start, look at and end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from experiments.recipe.recipe import Recipe
from experiments.storage.json_files import read_lines

PATIENCE = 240.0  # seconds, where other work may have the cores


def children(pid: int) -> list[int]:
    """In the order in which they were started."""
    asked = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return sorted(int(line) for line in asked.stdout.split())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def train_command(recipe: Recipe, folder: Path) -> list[str]:
    file = folder.with_name(f"{folder.name}.yaml")
    recipe.to_yaml(file)
    return [sys.executable, "-m", "experiments", "train", "--recipe", str(file), "--folder", str(folder)]


def wait_for_rows(process: subprocess.Popen, folder: Path, rows: int) -> None:
    """Until the run has logged so many."""
    until = time.monotonic() + PATIENCE
    while len(read_lines(folder / "metrics.jsonl")) < rows:
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < until
        time.sleep(0.02)


def wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + PATIENCE
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < until, "a process was left behind"
        time.sleep(0.02)
