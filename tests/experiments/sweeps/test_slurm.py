"""launcher=slurm on a real Slurm of two nodes: what it survives, what it never does twice."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from slurm_cluster import Cluster, cluster, missing, until

from archs.errors import UserError
from experiments.data.store import Corpus
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json, read_lines
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.launch.config import SlurmConfig
from experiments.sweeps.launch.slurm.jobs import Job, write_job
from experiments.sweeps.launch.slurm.slurm import Slurm
from experiments.sweeps.launch.task import Task

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
ARMS = ["encoder_ae", "decoder_ar", "prefix_lm"]
STEPS, EVERY = 240, 40
"""Each arm's training lasts long enough that it can be disturbed, and is checkpointed on the way."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(why)
    with cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def inside(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """This process speaks to the cluster."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    return slurm


def overrides(out: Path, cache: Path) -> list[str]:
    return [
        *("~arms.encoder_decoder", "~arms.permuted_lm", "size=tiny", "size.vocabulary=4096", "budget=smoke"),
        *(f"budget.amount={STEPS}", f"training.checkpoint_every={EVERY}", "training.batch=8"),
        *("training.accelerator=cpu", "training.threads=1", "tracking=none", "evaluation=likelihood"),
        *(f"out={out}", f"data.cache={cache}"),
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path, address_corpus: Corpus) -> Path:
    """The sweep in this process."""
    out = tmp_path_factory.mktemp("inline")
    sweeping.run(*compose_sweep("five_families", overrides(out, cache)))
    return out / "five_families"


class Command:
    """`pentarch sweep … launcher=slurm`, on its way."""

    def __init__(self, slurm: Cluster, out: Path, cache: Path, *more: str) -> None:
        self.log = out / f"command-{len(list(out.glob('command-*')))}.txt"
        words = ["sweep", "five_families", *overrides(out, cache), "launcher=slurm", "launcher.cpus=2", *more]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "experiments", *words],
                env={**slurm.environment, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )

    @property
    def told(self) -> str:
        return self.log.read_text()


@dataclass
class Disturbed:
    """A sweep's folder, its commands, and the step after which a job was told to go."""

    folder: Path
    commands: list[Command]
    step: int


@pytest.fixture(scope="module")
def disturbed(
    slurm: Cluster, tmp_path_factory: pytest.TempPathFactory, cache: Path, address_corpus: Corpus
) -> Iterator[Disturbed]:
    """The sweep by Slurm, while a worker is killed, a job told to go, a node lost and the launcher killed."""
    out = tmp_path_factory.mktemp("slurm_sweep")
    folder = out / "five_families"
    runs = [RunFolder(folder / arm / "seed0") for arm in ARMS]
    commands = [Command(slurm, out, cache)]
    steps: dict[str, int] = {}
    disturb = {
        ARMS[0]: lambda: kill_worker(runs[0].path),
        ARMS[1]: lambda: slurm.tell("scancel", "--signal=USR2", job_of(runs[1])),
        ARMS[2]: lambda: slurm.stop_node(node_of(slurm, job_of(runs[2]))),
    }

    def all_disturbed() -> bool:
        """Each as it gets there: none is to have ended while another is waited for."""
        for arm, run in zip(ARMS, runs, strict=True):
            if arm not in steps and (step := step_of(run)) > EVERY:
                commands[0].process.kill()  # first, so that it submits nothing where a node is to be lost
                steps[arm] = step
                disturb[arm]()
        return len(steps) == len(ARMS)

    try:
        until(all_disturbed, "all arms train", 300)
        # Before that a job that is hurried could be put on the lost node, and be requeued once more.
        until(lambda: slurm.nodes("down") == set(slurm.stopped), "Slurm knows of the lost node")
        commands += [Command(slurm, out, cache), Command(slurm, out, cache)]

        def ended() -> bool:
            slurm.hurry()
            return all(command.process.poll() is not None for command in commands[1:])

        until(ended, "both commands end", 600)
        yield Disturbed(folder, commands, steps[ARMS[1]])
    finally:
        for command in commands:
            command.process.kill()
        for node in set(slurm.stopped):
            slurm.start_node(node)


def step_of(run: RunFolder) -> int:
    rows = read_lines(run.metrics)
    return rows[-1]["step"] if rows else 0


def job_of(run: RunFolder) -> str:
    return read_json(run.path / "job.json")["id"]


def node_of(slurm: Cluster, job: str) -> str:
    return slurm.tell("squeue", "--noheader", f"--jobs={job}", "--format=%N")


def kill_worker(folder: Path) -> None:
    (worker,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"work", str(folder)} <= set(process.info["cmdline"] or [])
    ]
    worker.kill()


def began(run: RunFolder) -> int:
    return [row["what"] for row in read_lines(run.path / "attempts.jsonl")].count("began")


def test_a_disturbed_sweep_ends_done_and_equal_to_the_undisturbed_one(
    slurm: Cluster, disturbed: Disturbed, undisturbed: Path
) -> None:
    """One test, since parallel workers would each disturb a sweep of their own."""
    folder, commands = disturbed.folder, disturbed.commands
    assert [command.process.returncode for command in commands[1:]] == [0, 0]
    assert (folder / "report" / "index.html").exists()
    for arm in ARMS:
        here, there = (RunFolder(sweep / arm / "seed0") for sweep in (folder, undisturbed))
        assert here.is_("done")
        assert here.weights.read_bytes() == there.weights.read_bytes()
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(run.scores / "likelihood.parquet") for run in (here, there))
        )
    a_killed_worker_is_tried_again(disturbed)
    a_job_told_to_go_is_saved_and_goes_on_under_its_id(slurm, disturbed)
    a_run_whose_node_is_lost_ends_on_another(disturbed)
    launchers_that_are_killed_or_many_submit_no_run_twice(slurm, disturbed)


def a_killed_worker_is_tried_again(disturbed: Disturbed) -> None:
    folder, commands = disturbed.folder, disturbed.commands
    assert began(RunFolder(folder / ARMS[0] / "seed0")) == 2
    assert any("ended by SIGKILL" in command.told for command in commands)


def a_job_told_to_go_is_saved_and_goes_on_under_its_id(slurm: Cluster, disturbed: Disturbed) -> None:
    run = RunFolder(disturbed.folder / ARMS[1] / "seed0")
    array, _, number = job_of(run).partition("_")
    (job,) = [
        one for one in slurm.jobs() if (one.get("ArrayJobId"), one.get("ArrayTaskId")) == (array, number)
    ]
    assert int(job["Restarts"]) >= 1  # its node may have been the one that was lost
    assert job["JobState"] == "COMPLETED"
    assert began(run) >= 2
    _, _, after = run.log.read_text().partition("stopped by SIGUSR2")
    first = re.search(r"(\d+)% of budget", after)
    assert first is not None
    assert int(first[1]) >= 100 * disturbed.step // STEPS  # not from the last regular checkpoint


def a_run_whose_node_is_lost_ends_on_another(disturbed: Disturbed) -> None:
    run = RunFolder(disturbed.folder / ARMS[2] / "seed0")
    assert began(run) >= 2
    assert run.is_("done")


def launchers_that_are_killed_or_many_submit_no_run_twice(slurm: Cluster, disturbed: Disturbed) -> None:
    folder, commands = disturbed.folder, disturbed.commands
    named = [job for job in slurm.jobs() if job["JobName"] == folder.name]
    assert len(named) == len(ARMS) + 1  # the killed worker's run was submitted again, once
    told = [line for command in commands for line in command.told.splitlines() if "submitted as job" in line]
    assert len(told) == len(named)
    assert any("followed: job" in command.told for command in commands[1:])


def task(out: Path, cache: Path) -> Task:
    sweep, recipes = compose_sweep("five_families", overrides(out, cache))
    recipe = recipes["decoder_ar", 0]
    return Task(recipe, recipe.folder(sweep.name), sweep.name, "decoder_ar")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            SlurmConfig(partition="nope"),
            ["partition specified: nope", "partitions here: main, urgent"],
        ),
        (SlurmConfig(memory=9999999), ["sbatch refused", "Requested node configuration is not available"]),
        (SlurmConfig(sbatch={"nonsense": "1"}), ["sbatch refused", "unrecognized option '--nonsense"]),
    ],
)
def test_what_sbatch_refuses_is_one_line(
    inside: Cluster,
    tmp_path: Path,
    cache: Path,
    config: SlurmConfig,
    words: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError) as error:
        Slurm(config).start([task(tmp_path, cache)])
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_without_slurm_the_local_launcher_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(UserError, match=r"no Slurm .*launcher=local"):
        Slurm(SlurmConfig())


def test_a_cancelled_job_is_told_and_final(inside: Cluster, tmp_path: Path, cache: Path) -> None:
    there, run = Slurm(SlurmConfig(sbatch={"begin": "now+1hour"})), task(tmp_path, cache)
    there.start([run])
    assert there.has(run)
    inside.tell("scancel", job_of(run.run))
    until(lambda: not there.has(run), "the job is gone")
    ending = there.ending(run)
    assert ending is not None
    assert ending.final
    assert "cancelled" in ending.why
    assert there.ending(run) is None  # told once


def test_a_cancelled_job_is_cancelled_for_all_commands_that_wait_for_it(
    inside: Cluster, tmp_path: Path, cache: Path
) -> None:
    run, config = task(tmp_path, cache), SlurmConfig(sbatch={"begin": "now+1hour"})
    one = Slurm(config)
    one.start([run])
    two = Slurm(config)
    assert one.has(run)
    assert two.has(run)
    job = job_of(run.run)
    inside.tell("scancel", job)
    for launcher in (one, two):
        until(lambda launcher=launcher: not launcher.has(run), "the job is gone")
    assert one.ending(run)
    two.start([run])  # its question to Slurm was older than what the other wrote down
    assert job_of(run.run) == job
    ending = two.ending(run)
    assert ending is not None
    assert ending.final
    assert "cancelled" in ending.why
    assert two.ending(run) is None
    two.start([run])  # the same command again
    assert job_of(run.run) != job
    inside.tell("scancel", job_of(run.run))


def test_tries_of_one_command_count_for_the_other_too(inside: Cluster, tmp_path: Path, cache: Path) -> None:
    run, config = task(tmp_path, cache), SlurmConfig(setup=["exit 3"])
    one, two = Slurm(config), Slurm(config)
    assert not two.has(run)
    one.start([run])
    for _ in range(2):  # and submitted again by the same command
        until(lambda: not one.has(run), "the job is over")
        ending = one.ending(run)
        assert ending is not None
        assert ending.crashed
        one.start([run])
    until(lambda: not two.has(run), "the last job is over")
    last, heard = job_of(run.run), []
    for _ in range(3):
        two.start([run])
        assert job_of(run.run) == last  # nothing is submitted before all of them are counted
        ending = two.ending(run)
        assert ending is not None
        heard.append(ending.why.partition(":")[0])
    assert len(set(heard)) == 3
    assert two.ending(run) is None


def test_a_job_of_that_number_that_is_another_s_is_not_waited_for(
    inside: Cluster, tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = task(tmp_path, cache)
    inside.tell("sbatch", "--job-name=another", "--begin=now+1hour", "--array=0", "--wrap=true")
    job = inside.tell("squeue", "--array", "--noheader", "--name=another", "--format=%i")
    run.run.claim(run.recipe)
    write_job(run, Job(job, str(run.run.log), 0))
    there = Slurm(SlurmConfig(sbatch={"begin": "now+1hour"}))
    until(lambda: not there.has(run), "it is not waited for")
    assert there.ending(run) is None  # nothing that this command has tried
    assert f"job {job}, of which Slurm knows no more" in capfd.readouterr().err
    there.start([run])
    assert job_of(run.run) != job
    inside.tell("scancel", job, job_of(run.run))


def test_a_job_that_cannot_start_says_why_once(
    inside: Cluster, tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there, run = Slurm(SlurmConfig(time=600)), task(tmp_path, cache)
    there.start([run])
    told = ""

    def tells() -> bool:
        nonlocal told
        assert there.has(run)
        told += capfd.readouterr().err
        return "PartitionTimeLimit" in told

    until(tells, "the reason is told")
    inside.tell("scancel", job_of(run.run))
    until(lambda: not there.has(run), "the job is gone")
    assert (told + capfd.readouterr().err).count("PartitionTimeLimit") == 1


def test_a_controller_that_is_away_is_waited_for(
    inside: Cluster, tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there, run = Slurm(SlurmConfig(sbatch={"begin": "now+1hour"})), task(tmp_path, cache)
    there.start([run])
    inside.stop_controller()
    try:
        assert not there.queue.ask()
        assert not there.queue.ask()
        assert there.has(run)
        there.start([Task(run.recipe, tmp_path / "other" / "seed0", run.sweep, "other")])
        with pytest.raises(UserError, match=r"Slurm does not answer: .*connect failure"):
            Slurm(SlurmConfig())
    finally:
        inside.start_controller()
    until(there.queue.ask, "the controller is back")
    assert there.has(run)
    told = capfd.readouterr().err
    assert told.count("does not answer") == told.count("answers again") == 1
    inside.tell("scancel", job_of(run.run))
