"""What a launcher may be told: where a sweep's runs are trained, never what they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.recipe.config import Config, Count


class LauncherConfig(Config):
    """`retries`: how often one command starts a run again whose process crashed, before it is reported."""

    retries: Annotated[int, Field(ge=0)] = 2


class InlineConfig(LauncherConfig):
    """In this process, one after another."""

    name: Literal["inline"] = "inline"


class LocalConfig(LauncherConfig):
    """`processes` runs at a time on this machine; None: one a GPU, or one for every two cores."""

    name: Literal["local"] = "local"
    processes: Count | None = None


class SlurmConfig(LauncherConfig):
    """A run is a task of an array job; what is None is Slurm's own default.

    `cpus`, `gpus` and `memory` (GB) are of one run, `time` in minutes: a run that needs longer is saved,
    requeued and goes on. `at_once`: tasks of one array that may run at a time. `setup`: shell lines before a
    run starts, as `module load cuda`. `sbatch`: any other option of sbatch, as {reservation: mine}.
    """

    name: Literal["slurm"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: Annotated[int, Field(ge=5)] = 60
    cpus: Count = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    memory: Count | None = None
    at_once: Count = 256
    setup: list[str] = Field(default_factory=list)
    sbatch: dict[str, str | int] = Field(default_factory=dict)


AnyLauncher = InlineConfig | LocalConfig | SlurmConfig
CONFIGS: dict[str, type[AnyLauncher]] = {"inline": InlineConfig, "local": LocalConfig, "slurm": SlurmConfig}
