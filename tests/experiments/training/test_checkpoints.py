"""Checkpoints: two of them, which prove themselves; from either, or none, a run ends in the same bits."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_files import KilledError, assert_same_to_the_last_bit, rows

from archs.errors import UserError
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.training.checkpoints import DIGITS, newest_sound, saved
from experiments.training.train import train

Compose = Callable[..., Recipe]


@pytest.fixture(scope="module")
def recipe(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    from experiments.recipe.compose import compose_recipe

    small = ["size=tiny", "budget=smoke", "tracking=none", "training.batch=8", "training.accelerator=cpu"]
    small += ["training.threads=1", f"data.cache={cache}", "size.vocabulary=4096", "size.dropout=0.1"]
    return compose_recipe([*small, "budget.amount=8", "training.checkpoint_every=2", "training.log_every=1"])


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, undisturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(recipe, folder)
    return folder


@pytest.fixture
def killed(
    recipe: Recipe, kill_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> RunFolder:
    """The run after seven of its eight steps: its checkpoints are of steps 4 and 6."""
    kill_at(7)
    with pytest.raises(KilledError):
        train(recipe, tmp_path / "run")
    monkeypatch.undo()
    return RunFolder(tmp_path / "run")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_two_newest_are_kept_and_no_other_file(killed: RunFolder) -> None:
    assert [each.step for each in saved(killed)] == [6, 4]
    assert all(each.sound and len(each.digest) == DIGITS for each in saved(killed))
    assert {path.name for path in killed.checkpoints.iterdir()} == {each.path.name for each in saved(killed)}


def test_the_older_is_there_until_the_newer_is_in_place(
    killed: RunFolder, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_write(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr("experiments.training.checkpoints.write_whole", no_write)
    with pytest.raises(KilledError):
        train(recipe, killed.path)
    assert [each.step for each in saved(killed)] == [6, 4]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut_short, emptied, zeroed, bit_flipped])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_ends_in_the_same_bits(
    damage: Callable[[Path], None],
    killed: RunFolder,
    recipe: Recipe,
    whole: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    newest = saved(killed)[0]
    damage(newest.path)
    train(recipe, killed.path)
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert f"'{newest.path}' is damaged; the one before it, of step 4, is tried" in told
    assert_same_to_the_last_bit(whole, killed.path)
    assert [each.step for each in saved(killed)] == [8, 6]
    assert all(each.sound for each in saved(killed))  # the damaged one made way


def test_from_the_newest_too_it_ends_in_the_same_bits(killed: RunFolder, recipe: Recipe, whole: Path) -> None:
    train(recipe, killed.path)
    assert_same_to_the_last_bit(whole, killed.path)


def test_with_no_sound_checkpoint_the_run_begins_again_and_says_so(
    killed: RunFolder, recipe: Recipe, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in saved(killed):
        bit_flipped(each.path)
    train(recipe, killed.path)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(told) == 2
    assert "the run starts from the beginning" in told[1]
    assert_same_to_the_last_bit(whole, killed.path)


def test_a_checkpoint_whose_records_are_lost_leaves_no_gap(
    killed: RunFolder, recipe: Recipe, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = killed.metrics.read_text().splitlines(keepends=True)
    killed.metrics.write_text("".join(lines[:5]))  # of checkpoint 6 a record is lost, of 4 none
    train(recipe, killed.path)
    assert "metrics.jsonl' is damaged and holds less" in capsys.readouterr().err
    assert_same_to_the_last_bit(whole, killed.path)


def test_a_last_record_cut_short_is_written_again_and_nothing_is_glued_to_it(
    killed: RunFolder, recipe: Recipe, whole: Path
) -> None:
    with killed.metrics.open("a") as file:
        file.write('{"step": 7, "loss')
    assert [row["step"] for row in rows(killed.path)] == [1, 2, 3, 4, 5, 6, 7]
    train(recipe, killed.path)
    assert [json.loads(line)["step"] for line in killed.metrics.read_text().splitlines()] == [*range(1, 9)]
    assert_same_to_the_last_bit(whole, killed.path)


def test_what_a_killed_process_left_half_written_is_removed_and_what_a_living_one_writes_is_not(
    killed: RunFolder, recipe: Recipe
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here, elsewhere = platform.node(), f"node-7.{platform.node()}"  # where the dead one's number may live
    left = killed.checkpoints / f"step8-{'0' * DIGITS}.ckpt@{here}@{dead.pid}.partial"
    written = killed.path / f"status.json@{here}@{living.pid}.partial"
    of_another = killed.path / f"status.json@{elsewhere}@{dead.pid}.partial"
    for path in (left, written, of_another, killed.scores / f"party.parquet@{here}@{dead.pid}.partial"):
        path.write_text("half")
    try:
        train(recipe, killed.path)
    finally:
        living.communicate(b"\n")
    assert {*killed.path.rglob("*.partial")} == {written, of_another}


def renamed(held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("query_key_value", "query"): weight for name, weight in held.items()}


def test_a_sound_checkpoint_of_another_version_is_one_line(killed: RunFolder, recipe: Recipe) -> None:
    import hashlib

    newest = saved(killed)[0]
    held = torch.load(newest.path, weights_only=True)
    torch.save(held | {"state_dict": renamed(held["state_dict"])}, newest.path)
    digest = hashlib.sha256(newest.path.read_bytes()).hexdigest()[:DIGITS]
    newest.path.rename(newest.path.with_name(f"step6-{digest}.ckpt"))
    assert newest_sound(killed, recipe.training.log_every) == saved(killed)[0]
    with pytest.raises(UserError, match="another version of pentarch"):
        train(recipe, killed.path)
