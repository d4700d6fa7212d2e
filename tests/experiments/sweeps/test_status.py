"""How far runs are, told from their folders alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from sweep_folder import set_status, write_sweep

from archs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.sweeps.status import progress, table, watch

ARMS = ["encoder_ae", "decoder_ar", "prefix_lm", "permuted_lm"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An arm that is done, one at work, one whose process is gone, one in a cluster's queue."""
    folder = write_sweep(tmp_path / "mine", ARMS, seeds=2)
    set_status(folder / "decoder_ar" / "seed1", "running", time=1e12)  # by a clock that is ahead
    set_status(folder / "prefix_lm" / "seed1", "running")
    set_status(folder / "encoder_ae" / "seed1", "failed", why="boom; 3 times")
    (folder / "permuted_lm" / "seed1" / "status.json").unlink()
    (folder / "permuted_lm" / "seed1" / "job.json").write_text(json.dumps({"id": "12_3", "ended": False}))
    rows = [{"what": what, "host": "node1", "process": 7, "time": 0.0} for what in ("began", "began")]
    (folder / "decoder_ar" / "seed1" / "attempts.jsonl").write_text(
        "".join(json.dumps(r) + "\n" for r in rows)
    )
    return folder


def test_a_state_is_what_the_folder_and_its_lock_say(folder: Path) -> None:
    with RunFolder(folder / "decoder_ar" / "seed1").taken() as mine:
        assert mine
        runs = {(run.name, run.seed): run for run in progress(folder)}
    assert len(runs) == 8
    assert {seed0.state for (_, seed), seed0 in runs.items() if seed == "0"} == {"done"}
    at_work = runs["decoder_ar", "1"]
    assert (at_work.state, at_work.attempts, at_work.where) == ("running", 2, "node1:7")
    assert at_work.seconds_ago == 0
    assert at_work.row["fraction"] == 1.0
    assert runs["prefix_lm", "1"].state == "interrupted"
    assert (runs["permuted_lm", "1"].state, runs["permuted_lm", "1"].where) == ("queued", "job 12_3")
    assert (runs["encoder_ae", "1"].state, runs["encoder_ae", "1"].why) == ("failed", "boom; 3 times")


def test_a_torn_row_of_metrics_is_passed_over(folder: Path) -> None:
    metrics = folder / "prefix_lm" / "seed1" / "metrics.jsonl"
    whole = progress(folder)[5].row
    with metrics.open("a") as file:
        file.write('{"step": 999, "fra')
    assert progress(folder)[5].row == whole


def test_the_table_counts_every_state_and_fits_eighty_columns(folder: Path) -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(table(folder))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "8 runs: 4 done, 1 failed, 2 interrupted, 1 queued" in text
    assert "encoder_ae, seed 1: failed: boom; 3 times" in text
    assert "12_3" in text
    assert all(f"{word} " in text for word in (*ARMS, "interrupted", "failed", "queued"))


def test_a_folder_that_is_no_sweep_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no sweep; start one"):
        progress(tmp_path)


def test_a_trial_is_over_when_trained_and_looking_writes_nothing(
    folder: Path,
) -> None:
    trial = folder / "decoder_ar" / "tuning" / "lr0.001-warmup0.05"
    trial.mkdir(parents=True)
    set_status(trial, "trained")
    assert [run.over for run in progress(folder) if run.seed == trial.name] == [True]
    assert not (trial / ".taken").exists()  # looking writes nothing
    set_status(folder / "encoder_ae" / "seed1", "trained")
    assert [run.over for run in progress(folder) if run.state == "trained"] == [True, False]


def test_watching_ends_when_all_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        for arm in ARMS:
            set_status(folder / arm / "seed1", "done")

    monkeypatch.setattr("experiments.sweeps.status.time.sleep", sleep)
    watch(folder)
    assert looks == [2.0]
