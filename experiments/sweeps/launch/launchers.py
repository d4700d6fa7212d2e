"""The launcher of each configuration. Apart from the configurations, which are read without torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.sweeps.launch.config import AnyLauncher, InlineConfig, LocalConfig, SlurmConfig
from experiments.sweeps.launch.inline import Inline
from experiments.sweeps.launch.local import Local
from experiments.sweeps.launch.slurm.slurm import Slurm
from experiments.sweeps.launch.task import Launcher

LAUNCHERS: dict[type[AnyLauncher], Callable[[Any], Launcher]] = {
    InlineConfig: lambda config: Inline(),
    LocalConfig: Local,
    SlurmConfig: Slurm,
}


def launcher_of(config: AnyLauncher) -> Launcher:
    """The launcher that a configuration describes. Raises UserError if it needs Slurm and none answers."""
    return LAUNCHERS[type(config)](config)
