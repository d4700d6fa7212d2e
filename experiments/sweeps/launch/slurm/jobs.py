"""Reads and writes `job.json` in a run's folder: which Slurm job has the run, and how its jobs ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from experiments.storage.json_files import read_record, write_json
from experiments.sweeps.launch.endings import ending_of, last_words
from experiments.sweeps.launch.slurm.queue import ended
from experiments.sweeps.launch.task import BUSY, Ending, Task


@dataclass(frozen=True)
class Job:
    """The content of job.json.

    log: the file that Slurm writes; written: bytes of the run's own log before this job; ended: whether it is
    known how the job ended; endings: {id: ending} of this job and the run's earlier ones. Several commands
    may follow a job, and each counts its endings for itself.
    """

    id: str
    log: str
    written: int
    ended: bool = False
    endings: dict[str, Ending] = field(default_factory=dict)


def job_of(task: Task) -> Job | None:
    """Returns the last job that was submitted for the task; None if none was."""
    record = read_record(task.folder / "job.json", "id", "log", "written", "ended")
    if record is None:
        return None
    endings = {job: Ending(**ending) for job, ending in record.get("endings", {}).items()}
    return Job(**{**record, "endings": endings})


def next_job(task: Task, job: str, log: str, written: int) -> Job:
    """Returns the content of job.json for a new job, with the endings of the earlier ones."""
    before = job_of(task)
    endings = {} if before is None else dict(before.endings)
    endings.pop(job, None)  # of another cluster's job of that number, if the folder was copied from there
    return Job(job, log, written, endings=endings)


def write_job(task: Task, job: Job) -> None:
    write_json(task.folder / "job.json", asdict(job))


def ending_of_job(job: Job, task: Task) -> Ending:
    """Returns how a job ended, from what Slurm remembers of it, else from its log.

    Without accounting, Slurm forgets a job within minutes.
    """
    run_log = task.run.log
    log = run_log if run_log.exists() and run_log.stat().st_size > job.written else Path(job.log)
    end = ended(job.id, task.sweep)
    if end is None:
        return Ending(
            f"{last_words(log)} (job {job.id}, of which Slurm knows no more; all of it is in {log})"
        )
    match end.state:
        case "CANCELLED":
            return Ending(f"job {job.id} was cancelled (scancel)", final=True)
        case "PREEMPTED":
            return Ending(f"job {job.id} made room for another", crashed=False)
        case "NODE_FAIL" | "BOOT_FAIL":
            return Ending(f"the node of job {job.id} failed")
        case "TIMEOUT":
            return Ending(f"job {job.id} reached its time limit before it could save; raise launcher.time")
        case "OUT_OF_MEMORY":
            return Ending(f"job {job.id} ran out of memory; raise launcher.memory")
    if end.code == 0:
        return Ending(f"job {job.id} ended without an error, and status.json says {task.run.status['state']}")
    ending = ending_of(end.code, log)
    return ending if end.code == BUSY else replace(ending, why=f"job {job.id}: {ending.why}")


def folder_of(task: Task) -> Path:
    """Returns the folder of submitit's pickled tasks and Slurm's logs."""
    return (Path(task.recipe.out) / task.sweep / "slurm").absolute()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock under which one of the sweep's commands submits jobs, or writes how a job ended."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield
