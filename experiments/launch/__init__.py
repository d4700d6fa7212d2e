"""Where a sweep's runs are trained: in this process, in several of this machine, or on a cluster."""

from __future__ import annotations

from experiments.launch.config import AnyLauncher, InlineConfig
from experiments.launch.driving import drive
from experiments.launch.task import Launcher, Task

__all__ = ["AnyLauncher", "InlineConfig", "Launcher", "Task", "drive"]
