"""Launchers: they train a sweep's runs in this process, in several on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.sweeps.launch.config import AnyLauncher, InlineConfig, LocalConfig, SlurmConfig
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.inline import Inline
from experiments.sweeps.launch.local import Local
from experiments.sweeps.launch.slurm.slurm import Slurm
from experiments.sweeps.launch.task import Launcher, Task

LAUNCHERS: dict[type[AnyLauncher], Callable[[Any], Launcher]] = {
    InlineConfig: Inline,
    LocalConfig: Local,
    SlurmConfig: Slurm,
}


def launcher_of(config: AnyLauncher) -> Launcher:
    """Returns the launcher of a configuration. Raises UserError if it needs Slurm and none answers."""
    return LAUNCHERS[type(config)](config)


__all__ = ["AnyLauncher", "InlineConfig", "Launcher", "Task", "drive", "launcher_of"]
