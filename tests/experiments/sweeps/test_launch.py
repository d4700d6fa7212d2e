"""Tasks taken to their end: what crashes is tried again, what another has is waited for."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.sweeps.compose import compose_launcher
from experiments.sweeps.launch.config import InlineConfig, LocalConfig, SlurmConfig
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.endings import ending_of
from experiments.sweeps.launch.inline import Inline
from experiments.sweeps.launch.local import Local
from experiments.sweeps.launch.task import BUSY, Ending, Task

Compose = Callable[..., Recipe]

WORKER = """
import sys, time
from pathlib import Path
import experiments.sweeps.launch.inline as inline
from experiments.sweeps.launch.driving import drive
from experiments.sweeps.launch.task import Task
from experiments.recipe.recipe import Recipe

def work(recipe, folder, sweep, until):
    (base / f"{who}_has_one").touch()
    until = time.monotonic() + 120
    while len([*base.glob("*_has_one")]) < 2:  # neither may take all before the other is there
        assert time.monotonic() < until
        time.sleep(0.02)
    with (folder / "log").open("a") as log:
        log.write(who)
    task(folder).run.set_status("done")

def task(folder):
    return Task(recipe, folder, "mine", folder.name)

base, who = Path(sys.argv[1]), sys.argv[2]
recipe = Recipe(family="decoder_ar", objective="causal")
inline.work = work
drive([task(base / str(n)) for n in range(6)], inline.Inline(), 0)
print(sum(task(base / str(n)).settled for n in range(6)))
"""


class Scripted:
    """Ends each task as the script says, in order: a state that it reaches, or a crash."""

    def __init__(self, script: dict[str, list[str]]) -> None:
        self.script = script
        self.started: list[str] = []
        self._ended: dict[Path, Ending] = {}
        self.stopped = False

    def has(self, task: Task) -> bool:
        return False

    def start(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.started.append(task.label)
            end = self.script[task.label].pop(0)
            if end == "interrupt":
                raise KeyboardInterrupt
            if end in ("done", "trained", "diverged"):
                task.run.path.mkdir(parents=True, exist_ok=True)
                task.run.set_status(end, why="nan")
            self._ended[task.folder] = Ending(end, crashed=end != "busy", final=end == "mistake")

    def ending(self, task: Task) -> Ending | None:
        return self._ended.pop(task.folder, None)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.sweeps.launch.driving.LOOK", 0.01)


@pytest.fixture
def task(compose: Compose, tmp_path: Path) -> Callable[..., Task]:
    def make(name: str, goal: str = "done") -> Task:
        return Task(compose(), tmp_path / name / "seed0", "mine", name, goal)  # type: ignore[arg-type]

    return make


def test_a_crash_is_tried_again_as_often_as_told_then_reported_and_the_others_go_on(task) -> None:
    script = Scripted({"a": ["boom", "boom", "boom", "done"], "b": ["boom", "done"], "c": ["done"]})
    tasks = [task(name) for name in "abc"]
    lost = drive(tasks, script, retries=2)
    assert lost == {tasks[0].folder: "boom; 3 times"}
    assert script.started.count("a") == 3
    assert script.started.count("b") == 2
    assert tasks[0].run.status["state"] == "failed"
    assert tasks[0].run.status["why"] == "boom; 3 times"
    assert drive(tasks, script, retries=2) == {}  # the same command again
    assert script.started[-1] == "a"


def test_a_users_mistake_is_not_tried_again(task) -> None:
    script = Scripted({"a": ["mistake"], "b": ["done"]})
    assert list(drive([task("a"), task("b")], script, retries=5).values()) == ["mistake"]
    assert script.started == ["a", "b"]


def test_a_run_that_another_had_first_counts_as_no_crash(task) -> None:
    script = Scripted({"a": ["busy"] * 5 + ["done"]})
    assert drive([task("a")], script, retries=0) == {}


def test_a_run_that_diverged_is_over_and_a_trial_is_over_when_trained(task) -> None:
    script = Scripted({"a": ["diverged"], "b": ["trained"], "c": ["trained", "done"]})
    assert drive([task("a"), task("b", "trained"), task("c")], script, retries=0) == {
        task("c").folder: "trained"
    }
    assert task("c").run.is_("trained")  # its weights are there: scoring alone is left to try again
    assert drive([task("a"), task("b", "trained"), task("c")], script, retries=0) == {}
    assert script.started == ["a", "b", "c", "c"]


def test_an_interrupt_stops_what_is_under_way(task) -> None:
    script = Scripted({"a": ["interrupt"]})
    with pytest.raises(KeyboardInterrupt):
        drive([task("a")], script, retries=0)
    assert script.stopped


def test_a_crash_in_this_process_is_loud_and_does_not_end_the_others(
    task, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(recipe: Recipe, folder: Path, sweep: str, until: str) -> None:
        if folder.parent.name == "a":
            raise ZeroDivisionError("no such luck")
        RunFolder(folder).set_status("done")

    monkeypatch.setattr("experiments.sweeps.launch.inline.work", work)
    lost = drive([task("a"), task("b")], Inline(), retries=1)
    assert list(lost.values()) == ["ZeroDivisionError: no such luck; 2 times"]
    assert task("b").run.is_("done")
    assert capsys.readouterr().err.count("Traceback") == 2


def test_a_full_disk_in_this_process_ends_the_command_and_is_not_tried_again(
    task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def work(recipe: Recipe, folder: Path, sweep: str, until: str) -> None:
        asked.append(folder)
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the library could not write") from error

    monkeypatch.setattr("experiments.sweeps.launch.inline.work", work)
    with pytest.raises(RuntimeError, match="could not write"):
        drive([task("a"), task("b")], Inline(), retries=1)
    assert len(asked) == 1


def test_two_commands_share_the_runs_and_end_together(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), who], stdout=subprocess.PIPE, text=True
        )
        for who in "ab"
    ]
    assert [process.communicate()[0].strip() for process in started] == ["6", "6"]
    logs = "".join((tmp_path / str(number) / "log").read_text() for number in range(6))
    assert len(logs) == 6
    assert set(logs) == {"a", "b"}


def test_what_another_has_is_not_started(task) -> None:
    script = Scripted({"free": ["done"], "held": ["done"]})
    held = task("held").run.taken()
    assert held.__enter__()
    start = script.start

    def then_free(tasks: Iterable[Task]) -> None:
        start(tasks)
        if script.started == ["free"]:
            held.__exit__(None, None, None)

    script.start = then_free  # type: ignore[method-assign]
    drive([task("held"), task("free")], script, retries=0)
    assert script.started == ["free", "held"]


@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        (-9, "", "ended by SIGKILL, as by one that ran out of memory"),
        (-15, "", "ended by SIGTERM"),
        (1, "Traceback\nValueError: no", "ValueError: no (exit code 1; all of it is in "),
        (2, "error: no such text", "no such text"),
        (1, "", "it said nothing (exit code 1"),
    ],
)
def test_an_ending_is_told_in_words(code: int, said: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(said)
    ending = ending_of(code, tmp_path / "log.txt")
    assert ending.crashed
    assert ending.final == (code == 2)
    assert why in ending.why


def test_a_worker_that_found_its_run_taken_has_not_crashed(tmp_path: Path) -> None:
    assert not ending_of(BUSY, tmp_path / "none").crashed


def test_launchers_are_presets_with_values() -> None:
    assert compose_launcher([]) == InlineConfig(retries=2)
    assert compose_launcher(["launcher=local", "launcher.processes=3"]) == LocalConfig(processes=3)
    slurm = compose_launcher(["launcher=slurm", "launcher.partition=gpu", "launcher.sbatch={nice: 5}"])
    assert slurm == SlurmConfig(partition="gpu", sbatch={"nice": 5})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["launcher=lokal"], "local"),
        (["launcher=local", "launcher.proceses=2"], "launcher.processes|processes"),
        (["launcher=local", "launcher.processes=0"], "processes: came 0"),
    ],
)
def test_a_launcher_that_is_none_is_one_line(given: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        compose_launcher(given)
    assert "\n" not in str(error.value)


def test_more_processes_than_memory_are_refused(task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.sweeps.launch.local.memory_free", lambda: 0.9e9)
    local = Local(LocalConfig(processes=8))
    told = r"2 processes of at least 0\.5 GB each need 1\.0 GB, and 0\.9 GB are free, for 1: lower launcher"
    with pytest.raises(UserError, match=told):
        local.start([task("a"), task("b")])  # eight are allowed, two are needed
    assert not task("a").run.recipe.exists()


def test_cores_and_gpus_are_divided(
    task, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    local = Local(LocalConfig(processes=4))
    local.cores = 16

    def of(devices: int) -> Task:
        asked = compose("training.accelerator=auto", f"training.devices={devices}")
        return Task(asked, tmp_path, "mine", "x")

    def gpus(task: Task) -> list[str]:
        environments = [local._environment(task, slot) for slot in range(local.processes(task))]
        return [each["CUDA_VISIBLE_DEVICES"] for each in environments]

    assert gpus(of(1)) == ["4", "5", "6", "7"]
    assert local._environment(of(1), 3)["OMP_NUM_THREADS"] == "4"
    with pytest.raises(UserError, match=r"4 processes with training\.devices=2 need 8 GPUs, and 4 are here"):
        local.processes(of(2))
    local.config = LocalConfig()
    assert gpus(of(2)) == ["4,5", "6,7"]
    with pytest.raises(UserError, match=r"1 processes with training\.devices=8 need 8 GPUs"):
        local.processes(of(8))
    assert local.processes(task("a")) == 8  # on the CPU: a process for every two cores
    assert local._environment(task("a"), 7)["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"  # as it was
    local.config = LocalConfig(processes=6)
    assert gpus(of(1)) == ["4", "5", "6", "7", "4", "5"]  # small runs may share one
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert local._environment(task("a"), 0)["OMP_NUM_THREADS"] == "1"
