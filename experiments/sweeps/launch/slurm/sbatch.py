"""What sbatch is told: one array job for several tasks, by submitit."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from archs.errors import UserError
from experiments.sweeps.launch.config import SlurmConfig
from experiments.sweeps.launch.slurm.queue import partitions, words
from experiments.sweeps.launch.slurm.task import SlurmTask
from experiments.sweeps.launch.task import Task

REQUEUES = 1_000_000  # at time limits: as often as it takes
PASSING = ("Unable to contact", "timed out", "temporarily")  # refusals that pass
OURS = {"array", "error", "job-name", "output", "requeue", "signal"}


class BusyError(RuntimeError):
    """Slurm takes no jobs now, in its own words; it may later."""


def check(config: SlurmConfig) -> None:
    """Raises UserError if an option is given that is set here."""
    if taken := OURS & {key.replace("_", "-").lstrip("-") for key in config.sbatch}:
        raise UserError(
            f"launcher.sbatch: {', '.join(sorted(taken))} is set by the launcher itself; leave it out"
        )


def submit(config: SlurmConfig, tasks: list[Task], folder: Path) -> list[tuple[str, str]]:
    """Each task's job, and the log of it that Slurm keeps. folder: of what is submitted, and of such logs.

    Raises UserError with sbatch's own words, BusyError if they may be others later.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    delay = int(min(120, 15 * config.time))  # seconds before its end in which a run is saved
    executor = SlurmExecutor(folder, max_num_timeout=REQUEUES)
    executor.update_parameters(**_parameters(config, tasks[0].sweep, delay))
    limit = 60.0 * config.time - delay
    works = [SlurmTask(task.command, str(task.run.log.absolute()), 0.8 * delay, limit) for task in tasks]
    try:
        with _outside_of_jobs(), redirect_stderr(io.StringIO()):  # told below, in one line
            jobs = executor.submit_array(works)
    except FailedJobError as error:
        told = words(str(error))
        if any(passing in told for passing in PASSING):
            raise BusyError(told) from error
        known = f"; partitions here: {', '.join(partitions())}" if "partition" in told else ""
        raise UserError(f"launcher=slurm: sbatch refused: {told}{known}") from error
    return [(str(job.job_id), str(job.paths.stderr)) for job in jobs]


def _parameters(config: SlurmConfig, sweep: str, delay: int) -> dict[str, object]:
    """sbatch's, as submitit names them."""
    given = {
        "partition": config.partition,
        "account": config.account,
        "qos": config.qos,
        "constraint": config.constraint,
        "gpus_per_node": config.gpus or None,
        "mem": config.memory and f"{config.memory}GB",
        "setup": ["set -e", *config.setup, "set +e"] if config.setup else None,
    }
    return {name: value for name, value in given.items() if value is not None} | {
        "job_name": sweep,
        "time": config.time,
        "cpus_per_task": config.cpus,
        "array_parallelism": config.at_once,
        "signal_delay_s": delay,
        "srun_args": [f"--cpus-per-task={config.cpus}"],  # since 22.05 srun does not ask sbatch for it
        "additional_parameters": {"requeue": True, **config.sbatch},
    }


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Within a job of Slurm's its variables would give the new one the old one's limits."""
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_")) and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
