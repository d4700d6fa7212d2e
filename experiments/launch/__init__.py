"""Where a sweep's runs are trained: in this process, in several of this machine, or on a cluster."""

from __future__ import annotations

from experiments.launch.config import AnyLauncher, InlineConfig, LocalConfig, SlurmConfig
from experiments.launch.driving import drive
from experiments.launch.task import Launcher, Task

__all__ = ["AnyLauncher", "InlineConfig", "Launcher", "Task", "drive", "launcher"]


def launcher(config: AnyLauncher) -> Launcher:
    """Of the config's kind. Raises UserError if this machine has no such thing."""
    if isinstance(config, LocalConfig):
        from experiments.launch.local import Local

        return Local(config)
    if isinstance(config, SlurmConfig):
        from experiments.launch.slurm import Slurm

        return Slurm(config)
    from experiments.launch.inline import Inline

    return Inline()
