"""Which job of Slurm's has a run, as `job.json` in its folder says, and how a job ended."""

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
    """What job.json holds. written: bytes of the run's log before it. ended: whether it is known how.

    endings: how this job and the run's earlier ones ended, by id: each command counts them for itself.
    """

    id: str
    log: str
    written: int
    ended: bool = False
    endings: dict[str, Ending] = field(default_factory=dict)


def job_of(task: Task) -> Job | None:
    """The last one that was submitted for it."""
    record = read_record(task.folder / "job.json", "id", "log", "written", "ended")
    if record is None:
        return None
    endings = {job: Ending(**ending) for job, ending in record.get("endings", {}).items()}
    return Job(**{**record, "endings": endings})


def next_job(task: Task, job: str, log: str, written: int) -> Job:
    """The one after that of job.json."""
    before = job_of(task)
    endings = {} if before is None else dict(before.endings)
    endings.pop(job, None)  # another cluster's job of that number, if the folder was copied from there
    return Job(job, log, written, endings=endings)


def write_job(task: Task, job: Job) -> None:
    write_json(task.folder / "job.json", asdict(job))


def how(job: Job, task: Task) -> Ending:
    """From what Slurm remembers; without accounting it forgets within minutes, then from the log."""
    run = task.run.log
    log = run if run.exists() and run.stat().st_size > job.written else Path(job.log)
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
    """Where submitit keeps what it submits, and Slurm its logs."""
    return (Path(task.recipe.out) / task.sweep / "slurm").absolute()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Whoever submits, or says how a job ended, is the only one of the sweep's launchers to do so."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield
