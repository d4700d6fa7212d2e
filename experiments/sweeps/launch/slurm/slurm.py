"""launcher=slurm: trains runs as tasks of array jobs. `job.json` in a run's folder says which job has it.

So a later command finds the jobs of one that was killed. Two commands never submit one run twice: each
decides what to submit, and writes it down, while it holds the sweep's lock.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from archs.errors import UserError
from experiments.sweeps.launch.config import SlurmConfig
from experiments.sweeps.launch.driving import tell
from experiments.sweeps.launch.slurm.jobs import (
    Job,
    ending_of_job,
    folder_of,
    job_of,
    locked,
    next_job,
    write_job,
)
from experiments.sweeps.launch.slurm.queue import Queue
from experiments.sweeps.launch.slurm.sbatch import BusyError, check, submit
from experiments.sweeps.launch.slurm.task import SlurmTask
from experiments.sweeps.launch.task import Ending, Task

PROGRAMS = ("sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel")
ARRAY = 1000  # tasks of one array job; Slurm's default limit is 1,001
EXPECTED = {"None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime"}  # waits that end by themselves


class Slurm:
    """Follows jobs by squeue, in one call for all of them; the state of a run is in status.json."""

    def __init__(self, config: SlurmConfig) -> None:
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            raise UserError(
                f"launcher=slurm: this machine has no Slurm ({', '.join(missing)} not found); give the "
                "command on a cluster's login node, or set launcher=local"
            )
        check(config)
        self.config = config
        self.queue = Queue()
        if not self.queue.ask():
            raise UserError(
                f"launcher=slurm: Slurm does not answer: {self.queue.refusal}; try again when it does"
            )
        # {folder: (number of the call of squeue, the run's job, whether the run is settled)}, as last read
        self._read: dict[Path, tuple[int, Job | None, bool]] = {}
        self._gone: dict[str, int] = {}  # {job not in the queue: number of the first call that missed it}
        self._followed: set[str] = set()  # jobs that this command submitted or saw in the queue
        self._earlier: set[str] = set()  # jobs that may have ended before this command began
        self._counted: set[str] = set()  # jobs whose endings this command has counted
        self._logs: dict[str, str] = {}  # {job of the sweep that another command submitted: its run's log}
        self._reasons: set[str] = set()  # printed last
        self._busy = ""  # Slurm's last message that it takes no jobs
        self._sweep = ""

    def has(self, task: Task) -> bool:
        self._sweep = task.sweep
        if self.queue.look():
            self._tell_reasons(task.sweep)
        job, settled = self._known(task)
        if job is None or job.ended or settled:
            return False
        if (queued := self.queue.jobs.get(job.id)) and queued.name == task.sweep:
            if job.id not in self._followed:
                self._follow(job.id)
                tell(task, f"followed: job {job.id} has it")
            self._gone.pop(job.id, None)
            return True
        # A job counts as gone once two calls have missed it: a shared disk may show status.json or job.json
        # late.
        first = self._gone.setdefault(job.id, self.queue.number)
        return self.queue.number == first and not task.settled

    def start(self, tasks: Iterable[Task]) -> None:
        """Submits one array job for all tasks that no job has."""
        if not self.queue.answers:
            return
        free = list(islice(tasks, ARRAY))
        if not free:
            return
        self._sweep = free[0].sweep
        folder = folder_of(free[0])
        with locked(folder):
            if not self.queue.ask():
                return
            self._find_unwritten(folder, free)
            unsubmitted = [task for task in free if self._is_free(task)]
            if unsubmitted:
                self._submit(unsubmitted, folder)

    def ending(self, task: Task) -> Ending | None:
        """Returns how a job ended that is gone while its run is not settled; each ending once.

        If several commands follow the job, one of them asks Slurm and writes the answer to job.json for all.
        """
        job, _ = self._known(task)
        if job is None or task.settled:
            return None
        if not job.ended:
            ending = ending_of_job(job, task)
            with locked(folder_of(task)):
                if job_of(task) != job:
                    return None
                job = replace(job, ended=True, endings={**job.endings, job.id: ending})
                self._write(task, job)
        new = next((each for each in job.endings if each not in self._counted), None)
        if new is None:
            return None
        self._counted.add(new)
        if new not in self._earlier:
            return job.endings[new]
        # The end of an earlier command's job does not count: this command has not tried yet.
        tell(task, f"{job.endings[new].why}; tried again")
        return None

    def stop(self) -> None:
        if any(job.name == self._sweep for job in self.queue.jobs.values()):
            print(
                "the jobs go on without this command, and the same command follows them; to end them: "
                f"scancel --me --name {self._sweep}",
                file=sys.stderr,
            )

    def _known(self, task: Task) -> tuple[Job | None, bool]:
        """Returns the task's job and whether its run is settled, read once after each call of squeue."""
        number, job, settled = self._read.get(task.folder, (-1, None, False))
        if number != self.queue.number:
            job, settled = job_of(task), task.settled
            if task.folder not in self._read and job is not None:
                self._earlier.add(job.id)
                self._counted |= job.endings.keys()
            self._read[task.folder] = (self.queue.number, job, settled)
        return job, settled

    def _is_free(self, task: Task) -> bool:
        """Returns whether no job has the task, and this command has counted how its earlier jobs ended."""
        job = job_of(task)
        return job is None or (job.ended and self._counted.issuperset(job.endings))

    def _follow(self, job: str) -> None:
        self._followed.add(job)
        self._earlier.discard(job)
        # Counted may be another cluster's job of that number, if the folder was copied from there.
        self._counted.discard(job)

    def _write(self, task: Task, job: Job) -> None:
        write_job(task, job)
        self._read[task.folder] = (-1, job, False)  # to be read again

    def _submit(self, tasks: list[Task], folder: Path) -> None:
        for task in tasks:
            task.run.claim(task.recipe)
        try:
            submitted = submit(self.config, tasks, folder)
        except BusyError as error:
            if str(error) != self._busy:
                print(f"Slurm takes no jobs now ({error}); trying again", file=sys.stderr, flush=True)
            self._busy = str(error)
            return
        self._busy = ""
        for task, (job, log) in zip(tasks, submitted, strict=True):
            self._follow(job)
            written = task.run.log.stat().st_size if task.run.log.exists() else 0
            self._write(task, next_job(task, job, log, written))
            tell(task, f"submitted as job {job}")

    def _find_unwritten(self, folder: Path, tasks: list[Task]) -> None:
        """Writes job.json for jobs of a command that was killed between submitting and writing."""
        from submitit.core.utils import DelayedSubmission

        jobs = {job for job, queued in self.queue.jobs.items() if queued.name == self._sweep} - self._followed
        for job in jobs - self._logs.keys():
            file = folder / f"{job}_submitted.pkl"
            if not file.exists():
                continue  # without this file the job does nothing, and ends
            submitted = DelayedSubmission.load(file).function
            assert isinstance(submitted, SlurmTask)
            self._logs[job] = submitted.log
        job_of_log = {self._logs[job]: job for job in jobs & self._logs.keys()}
        for task in tasks:
            job = job_of_log.get(str(task.run.log.absolute()))
            if job and ((known := job_of(task)) is None or known.ended):
                self._write(task, next_job(task, job, str(folder / f"{job}_0_log.err"), 0))

    def _tell_reasons(self, sweep: str) -> None:
        """Prints why jobs of the sweep wait, if that may not pass by itself; again only when it changes."""
        waiting = [
            job.reason for job in self.queue.jobs.values() if job.name == sweep and job.state == "PENDING"
        ]
        reasons = set(waiting) - EXPECTED
        for reason in sorted(reasons - self._reasons):
            print(f"{waiting.count(reason)} jobs wait; Slurm's reason: {reason}", file=sys.stderr, flush=True)
        self._reasons = reasons
