"""A full disk, a clock that jumps, other versions, a damaged file: a correct result or one clear line."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sweep_folder
from run_files import KilledError, assert_same_to_the_last_bit, cut, rows

from archs.errors import UserError
from experiments import report
from experiments.evaluation.evaluate import evaluate_run
from experiments.recipe.recipe import Recipe
from experiments.runs.environment import resumed_environment
from experiments.runs.folder import RunFolder
from experiments.runs.hugging_face.exported import export_run
from experiments.runs.run import restore
from experiments.storage.disk import FullDiskError
from experiments.storage.json_files import read_json, read_lines
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.training import train as training
from experiments.training.checkpoints import saved
from experiments.training.listeners import Bar
from experiments.training.module import Pretraining
from experiments.training.process import PROCESS
from experiments.training.train import train

Compose = Callable[..., Recipe]
FEW = ["evaluation.party=false", "evaluation.infill=false", "evaluation.samples=1"]


def mounted(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 100 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or not mounted("-t", "tmpfs", "-o", "size=100m", "tmpfs", str(place)):
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    """Until not a byte is left."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            return


def make_room(disk: Path) -> None:
    (disk / "filler").unlink()


def fill_at(disk: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(self: Bar, module: Pretraining) -> None:
        if module.spent.steps == step:
            fill(disk)

    monkeypatch.setattr(Bar, "__call__", act)


def before_export(disk: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = training.finish

    def full(*arguments: Any) -> None:
        fill(disk)
        finish(*arguments)

    monkeypatch.setattr(training, "finish", full)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "filled", "every"),
    [
        ("checkpoints", fill_at, ["training.log_every=1000", "training.checkpoint_every=2"]),
        ("metrics.jsonl", fill_at, ["training.log_every=1", "training.checkpoint_every=30"]),
        ("model.safetensors", before_export, ["training.log_every=5", "training.checkpoint_every=20"]),
    ],
)
def test_a_disk_that_fills_up_in_training_is_one_line_and_room_gives_the_same_bits(
    where: str,
    filled: Callable[[Path, int, pytest.MonkeyPatch], None],
    every: list[str],
    compose: Compose,
    disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = compose("budget.amount=60", *every)
    train(recipe, tmp_path / "whole")
    run = RunFolder(disk / "run")
    with monkeypatch.context() as patch:
        filled(disk, 37, patch)
        with pytest.raises(FullDiskError) as error:
            train(recipe, run.path)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in (where, "no space left", "MB free", "same command"))
    assert not run.is_("trained")
    assert not [*run.path.rglob("*.partial")]
    assert saved(run)
    assert all(each.sound for each in saved(run))
    make_room(disk)
    train(recipe, run.path)
    assert_same_to_the_last_bit(tmp_path / "whole", run.path)


def test_a_disk_that_fills_up_in_evaluation_or_export_leaves_a_trained_run(
    compose: Compose, disk: Path, tmp_path: Path
) -> None:
    recipe = compose("budget.amount=2", *FEW)
    train(recipe, disk / "run")
    shutil.copytree(disk / "run", tmp_path / "whole")
    evaluate_run(tmp_path / "whole")
    fill(disk)
    for ask in (lambda: evaluate_run(disk / "run"), lambda: export_run(disk / "run", disk / "exported")):
        with pytest.raises(FullDiskError) as error:
            ask()
        assert "\n" not in str(error.value)
        assert RunFolder(disk / "run").is_("trained")
    assert not (disk / "exported").exists()
    make_room(disk)
    evaluate_run(disk / "run")
    export_run(disk / "run", disk / "exported")
    assert {path.name for path in disk.iterdir()} == {"run", "exported"}
    one, two = (folder / "scores" / "likelihood.parquet" for folder in (disk / "run", tmp_path / "whole"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_the_command_on_a_small_disk_ends_with_one_line_and_goes_on_when_there_is_room(
    compose: Compose, disk: Path, tmp_path: Path
) -> None:
    recipe = compose("budget.amount=4")
    train(recipe, tmp_path / "whole")
    recipe.to_yaml(tmp_path / "recipe.yaml")
    command = [sys.executable, "-m", "experiments", "train", "--recipe", str(tmp_path / "recipe.yaml")]
    command += ["--folder", str(disk / "run")]
    assert mounted("-o", "remount,size=1m", str(disk))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "no space left" in line
    assert RunFolder(disk / "run").status["state"] == "failed"
    assert "no space left" in RunFolder(disk / "run").status["why"]
    assert mounted("-o", "remount,size=100m", str(disk))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert_same_to_the_last_bit(tmp_path / "whole", disk / "run")


@pytest.mark.slow
def test_a_full_cache_is_one_line(compose: Compose, disk: Path, tmp_path: Path) -> None:
    fill(disk)
    with pytest.raises(UserError, match=r"(?i)no space left") as error:
        train(compose(f"data.cache={disk}/cache"), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_folder_that_can_only_be_read_is_one_line(compose: Compose, disk: Path) -> None:
    recipe = compose("budget.amount=2", *FEW)
    folder = disk / "sweep" / "decoder_ar" / "seed0"
    train(recipe, folder)
    assert mounted("-o", "remount,ro", str(disk))
    asked = (
        lambda: train(recipe, disk / "another"),
        lambda: evaluate_run(folder),
        lambda: report.write(disk / "sweep"),
    )
    for ask in asked:
        with pytest.raises(UserError, match=r"cannot be written \(Read-only") as error:
            ask()
        assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a path below a file to be refused")
def test_an_unwritable_run_folder_is_one_line(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written"):
        train(compose(), tmp_path / "file" / "run")


def test_a_note_is_never_glued_to_half_a_note(tmp_path: Path) -> None:
    (tmp_path / "attempts.jsonl").write_text('{"what": "beg')
    RunFolder(tmp_path).note("began")
    RunFolder(tmp_path).note("done")
    assert [row["what"] for row in read_lines(tmp_path / "attempts.jsonl")] == ["began", "done"]


@pytest.mark.slow
def test_a_mistake_that_has_no_room_in_a_file_is_printed(tmp_path: Path, disk: Path) -> None:
    (disk / "recipe.yaml").write_text("famly: decoder_ar")
    fill(disk)
    command = [sys.executable, "-m", "experiments.training.worker", str(os.getpid()), str(disk)]
    done = subprocess.run(
        [*command, str(tmp_path / "run"), "mine"],
        env={**os.environ, PROCESS: "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "family is missing" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not [*disk.glob("mistake*")]


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_file_but_for_times(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = compose("budget.amount=12", "training.log_every=1", "training.checkpoint_every=5", *FEW)
    train(recipe, tmp_path / "steady")
    evaluate_run(tmp_path / "steady")
    now, rng = time.time(), random.Random(0)
    monkeypatch.setattr(time, "time", lambda: now + rng.uniform(-9, 9) * 24 * 3600)
    train(recipe, tmp_path / "jumping")
    evaluate_run(tmp_path / "jumping")
    monkeypatch.undo()
    assert_same_to_the_last_bit(tmp_path / "steady", tmp_path / "jumping")
    one, two = (
        {str(path.relative_to(tmp_path / name)): path for path in (tmp_path / name).rglob("*.*")}
        for name in ("steady", "jumping")
    )
    timed = {"status.json", "evaluation.json", "audit.json", "metrics.jsonl"}
    same = {name for name, path in one.items() if path.is_file() and path.suffix != ".ckpt"} - timed
    assert len(same) > 5
    assert {name for name in same if one[name].read_bytes() != two[name].read_bytes()} == set()
    seconds = [row["seconds"] for row in read_lines(two["metrics.jsonl"])]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert all(value >= 0 for value in read_json(two["evaluation.json"])["seconds"].values())


def test_a_budget_in_seconds_is_spent_whatever_the_clock_says(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, rng = time.time(), random.Random(0)
    monkeypatch.setattr(time, "time", lambda: now + rng.uniform(-9, 9) * 24 * 3600)
    started = time.monotonic()
    train(compose("budget.stop=seconds", "budget.amount=0.5"), tmp_path / "run")
    assert time.monotonic() - started >= 0.5
    assert rows(tmp_path / "run")[-1]["step"] > 1


def stopped(recipe: Recipe, folder: Path, kill_at: Callable[[int], None], step: int) -> RunFolder:
    kill_at(step)
    with pytest.raises(KilledError):
        train(recipe, folder)
    return RunFolder(folder)


def put(run: RunFolder, **changed: Any) -> dict[str, Any]:
    """environment.json as another version would have left it."""
    content = read_json(run.path / "environment.json")
    content |= {**changed, "libraries": {**content["libraries"], **changed.get("libraries", {})}}
    (run.path / "environment.json").write_text(json.dumps(content))
    return content


@pytest.mark.slow
def test_a_run_that_goes_on_under_another_version_says_so_and_keeps_what_was(
    compose: Compose,
    tmp_path: Path,
    kill_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = compose("budget.amount=8", "training.checkpoint_every=2", *FEW)
    run = stopped(recipe, tmp_path / "sweep" / "decoder_ar" / "seed0", kill_at, 5)
    monkeypatch.undo()
    put(run, libraries={"torch": "2.9.0"}, threads=7)
    capsys.readouterr()
    train(recipe, run.path)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert "step 4" in line
    assert "torch (2.9.0 before" in line
    assert "threads (7 before, 1 now)" in line
    assert "not to the same bits" in line
    (before,) = read_json(run.path / "environment.json")["trained_before"]
    assert (before["torch"], before["threads"], before["until_step"]) == ("2.9.0", "7", 4)
    evaluate_run(run.path)
    page = report.write(tmp_path / "sweep").read_text()
    assert "up to step 4 torch (2.9.0 before" in page


def test_a_run_that_goes_on_under_the_same_versions_warns_of_nothing(
    compose: Compose,
    tmp_path: Path,
    kill_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = compose("budget.amount=4", "training.checkpoint_every=2")
    run = stopped(recipe, tmp_path / "run", kill_at, 3)
    monkeypatch.undo()
    train(recipe, run.path)
    assert "warning" not in capsys.readouterr().err
    assert "trained_before" not in read_json(run.path / "environment.json")


def test_what_trained_earlier_steps_is_kept_only_as_far_as_its_steps_are() -> None:
    def of(torch: str, **more: Any) -> dict[str, Any]:
        return {"python": "3.11", "libraries": {"torch": torch}, "threads": 1, "user_source": {}, **more}

    second = resumed_environment(of("a"), of("b"), step=100)
    assert [(span["torch"], span["until_step"]) for span in second["trained_before"]] == [("a", 100)]
    # The checkpoint of step 100 is damaged: what trained 50 to 100 is trained again, by c.
    third = resumed_environment(second, of("c"), step=50)
    assert [(span["torch"], span["until_step"]) for span in third["trained_before"]] == [("a", 50)]
    later = resumed_environment(third, of("c"), step=70)
    assert [(span["torch"], span["until_step"]) for span in later["trained_before"]] == [("a", 50)]
    assert "trained_before" not in resumed_environment(second, of("a"), step=100)


def test_asking_a_run_under_another_version_than_trained_it_says_so(
    compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(compose("budget.amount=2"), tmp_path / "run")
    restore(tmp_path / "run")
    assert "warning" not in capsys.readouterr().err
    put(RunFolder(tmp_path / "run"), libraries={"numpy": "1.0"})
    restore(tmp_path / "run")
    assert "numpy (1.0 before" in capsys.readouterr().err


def test_the_page_says_which_runs_were_trained_or_scored_under_which_versions(tmp_path: Path) -> None:
    folder = sweep_folder.write_sweep(tmp_path / "sweep", ["decoder_ar", "prefix_lm"])
    assert "different versions" not in report.write(folder).read_text()
    run = RunFolder(folder / "prefix_lm" / "seed0")
    put(run, libraries={"torch": "2.12.1"})
    evaluation = read_json(run.path / "evaluation.json")
    scored = {"python": "3.11.9", "libraries": {"torch": "2.13.0"}}
    (run.path / "evaluation.json").write_text(json.dumps(evaluation | {"environment": scored}))
    page = report.write(folder).read_text()
    assert (
        "Runs were trained under different versions of torch: 2.13.0 (decoder_ar seed 0); "
        "2.12.1 (prefix_lm seed 0)." in page
    )
    assert "Scored under other versions than trained: prefix_lm seed 0: torch (2.12.1 before" in page


FILES = [
    "recipe.yaml",
    "status.json",
    "attempts.jsonl",
    "metrics.jsonl",
    "audit.json",
    "environment.json",
    "gates.json",
    "evaluation.json",
    "samples.json",
    "model.safetensors",
    "tokenizer.json",
    "scores/likelihood.parquet",
    "scores/infill.parquet",
    "checkpoints/*.ckpt",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a sweep of one arm, done; copy it before damaging it."""
    folder = tmp_path_factory.mktemp("finished")
    sweeping.run(*one_arm(folder, cache))
    return folder / "five_families"


def one_arm(out: Path, cache: Path) -> Any:
    small = ["size=tiny", "budget=smoke", "budget.amount=30", "tracking=none", "training.accelerator=cpu"]
    small += ["training.batch=8", "training.threads=1", "size.vocabulary=4096", "training.log_every=5"]
    small += ["evaluation.likelihood_windows=8", "evaluation.finetune.steps=2", "evaluation.party=false"]
    small += ["evaluation.finetune.batch=4", "evaluation.samples=1", f"out={out}", f"data.cache={cache}"]
    others = ("encoder_ae", "encoder_decoder", "prefix_lm", "permuted_lm")
    return compose_sweep("five_families", [*small, *(f"~arms.{arm}" for arm in others)])


@pytest.mark.slow
def test_every_file_of_a_run_is_tried(finished: Path) -> None:
    run = finished / "decoder_ar" / "seed0"
    there = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and path.suffix}
    named = {str(path.relative_to(run)) for pattern in FILES for path in run.glob(pattern)}
    assert named == there


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_of_a_finished_run_is_one_line_or_changes_no_result(
    file: str, finished: Path, cache: Path, tmp_path: Path
) -> None:
    sweep, recipes = one_arm(tmp_path, cache)
    folder, kept = tmp_path / "five_families", pd.read_parquet(finished / "results.parquet")
    run = folder / "decoder_ar" / "seed0"
    again = (
        lambda: report.write(folder),
        lambda: evaluate_run(run),
        lambda: sweeping.run(sweep, recipes),
    )
    for ask in again:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(finished, folder)
        for path in run.glob(file):
            cut(path)
        told = refusal(ask)
        if told is None:
            report.write(folder)
            pd.testing.assert_frame_equal(pd.read_parquet(folder / "results.parquet"), kept)
        else:
            assert "\n" not in told
            # Half a recipe may be a whole one, of other values.
            assert Path(file).name in told or "was made by another recipe" in told


def refusal(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except UserError as error:
        return str(error)
    return None
