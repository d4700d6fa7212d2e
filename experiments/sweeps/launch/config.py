"""The options of launchers: where a sweep's runs are trained, never what they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.recipe.config import Config, Count


class LauncherConfig(Config):
    """`retries`: how often one command restarts a crashed run before it reports the run as failed."""

    retries: Annotated[int, Field(ge=0)] = 2


class InlineConfig(LauncherConfig):
    """Runs are trained in this process, one after another."""

    name: Literal["inline"] = "inline"


class LocalConfig(LauncherConfig):
    """`processes` runs are trained at a time on this machine. None: one a GPU, or one for every two cores."""

    name: Literal["local"] = "local"
    processes: Count | None = None


class SlurmConfig(LauncherConfig):
    """Each run is a task of an array job. An option that is None is left to Slurm's own default.

    `cpus`, `gpus` and `memory` (GB) are those of one run. `time`: the limit of a job in minutes; a run that
    needs longer is saved, requeued and resumed. `at_once`: tasks of one array that may run at a time.
    `setup`: shell lines before a run starts, as `module load cuda`. `sbatch`: any other option of sbatch, as
    {reservation: mine}.
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
