"""Submits one array job for several tasks to sbatch, by submitit."""

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

REQUEUES = 1_000_000  # at time limits: no bound in practice
PASSING = ("Unable to contact", "timed out", "temporarily")  # in messages of refusals that may pass
RESERVED = {"array", "error", "job-name", "output", "requeue", "signal"}


class BusyError(RuntimeError):
    """Slurm takes no jobs now, but may later. The message is Slurm's own."""


def check(config: SlurmConfig) -> None:
    """Raises UserError if launcher.sbatch has an option that the launcher sets itself."""
    if taken := RESERVED & {key.replace("_", "-").lstrip("-") for key in config.sbatch}:
        raise UserError(
            f"launcher.sbatch: {', '.join(sorted(taken))} is set by the launcher itself; leave it out"
        )


def submit(config: SlurmConfig, tasks: list[Task], folder: Path) -> list[tuple[str, str]]:
    """Submits the tasks; returns (job, Slurm's log of it) for each.

    folder: for submitit's pickled tasks and Slurm's logs. Raises BusyError if Slurm takes no jobs now, and
    UserError if it refuses these for another reason. Both have sbatch's message.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    delay = int(min(120, 15 * config.time))  # seconds before the time limit, in which a run is saved
    executor = SlurmExecutor(folder, max_num_timeout=REQUEUES)
    executor.update_parameters(**_parameters(config, tasks[0].sweep, delay))
    limit = 60.0 * config.time - delay
    works = [SlurmTask(task.command, str(task.run.log.absolute()), 0.8 * delay, limit) for task in tasks]
    try:
        with _outside_of_jobs(), redirect_stderr(io.StringIO()):  # its message is raised below, in one line
            jobs = executor.submit_array(works)
    except FailedJobError as error:
        message = words(str(error))
        if any(passing in message for passing in PASSING):
            raise BusyError(message) from error
        choices = f"; partitions here: {', '.join(partitions())}" if "partition" in message else ""
        raise UserError(f"launcher=slurm: sbatch refused: {message}{choices}") from error
    return [(str(job.job_id), str(job.paths.stderr)) for job in jobs]


def _parameters(config: SlurmConfig, sweep: str, delay: int) -> dict[str, object]:
    """Returns the options of sbatch, by submitit's names."""
    optional = {
        "partition": config.partition,
        "account": config.account,
        "qos": config.qos,
        "constraint": config.constraint,
        "gpus_per_node": config.gpus or None,
        "mem": config.memory and f"{config.memory}GB",
        "setup": ["set -e", *config.setup, "set +e"] if config.setup else None,
    }
    return {name: value for name, value in optional.items() if value is not None} | {
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
    """Hides the environment variables of the Slurm job that this command may itself run in.

    They would give the new job the limits of that one.
    """
    hidden = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SLURMD_", "SRUN_")) and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
