"""launcher=local for real: workers and launcher killed on the way, the end as if undisturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
from slurm_cluster import until

from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_lines

ARMS = ("encoder_ae", "decoder_ar")
SWEEP = [
    "sweep",
    "five_families",
    *(f"~arms.{arm}" for arm in ("encoder_decoder", "prefix_lm", "permuted_lm")),
]
SMALL = ["size=tiny", "budget=smoke", "budget.amount=150", "tracking=none", "training.batch=8"]
SMALL += ["training.threads=1", "training.accelerator=cpu", "training.checkpoint_every=10"]
SMALL += ["evaluation.likelihood_windows=4", "evaluation.pseudo_likelihood_windows=2"]
SMALL += ["evaluation.party=false", "evaluation.infill=false", "evaluation.samples=1"]


LONG = 200.0  # seconds, on a busy machine


def begin(out: Path, cache: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "experiments", *SWEEP, *SMALL, f"out={out}", f"data.cache={cache}", *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """What it said on stderr, having ended well."""
    said = process.communicate(timeout=400)[1]
    assert process.returncode == 0, said
    return said


def worker(folder: Path) -> psutil.Process | None:
    """The live worker of a run that has a checkpoint."""
    if not list((folder / "checkpoints").glob("*.ckpt")) or not RunFolder(folder).is_("running"):
        return None
    began = [row["process"] for row in read_lines(folder / "attempts.jsonl") if row["what"] == "began"]
    return psutil.Process(began[-1]) if began and psutil.pid_exists(began[-1]) else None


@pytest.mark.slow
def test_a_sweep_whose_workers_and_launcher_are_killed_ends_as_an_undisturbed_one(
    tmp_path: Path, cache: Path
) -> None:
    plain, local = tmp_path / "plain", tmp_path / "local"
    undisturbed = begin(plain, cache)
    first = begin(local, cache, "launcher=local", "launcher.processes=2", "launcher.retries=5")
    one, other = (local / "five_families" / arm / "seed0" for arm in ARMS)
    until(lambda: worker(one), "the first arm trains", LONG).kill()
    until(lambda: worker(other), "the other trains", LONG).send_signal(signal.SIGTERM)
    until(
        lambda: all(len(read_lines(run / "attempts.jsonl")) > 1 for run in (one, other)), "both again", LONG
    )
    first.kill()
    first.communicate()  # its workers go on, and the next waits for what they have
    said = ended(begin(local, cache, "launcher=local", "launcher.processes=2"))
    assert "report: " in said
    ended(undisturbed)
    log = (one / "log.txt").read_text()
    assert "stopped by SIGTERM" in (other / "log.txt").read_text()
    assert "Traceback" not in log
    for arm in ARMS:
        a, b = (out / "five_families" / arm / "seed0" for out in (plain, local))
        assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
        for table in (a / "scores").glob("*.parquet"):
            assert pd.read_parquet(table).equals(pd.read_parquet(b / "scores" / table.name))
        what = [row["what"] for row in read_lines(b / "attempts.jsonl")]
        assert what.count("began") >= 2
        assert what.count("done") == 1
        assert what[-1] == "done"


@pytest.mark.slow
def test_an_arm_that_crashes_is_reported_and_the_others_are_done(tmp_path: Path, cache: Path) -> None:
    """Its weights cannot be written: a folder stands in their place."""
    (tmp_path / "five_families" / "encoder_ae" / "seed0" / "model.safetensors").mkdir(parents=True)
    process = begin(tmp_path, cache, "launcher=local", "launcher.retries=1", "budget.amount=2")
    said = process.communicate(timeout=400)[1]
    assert process.returncode == 1
    assert "encoder_ae, seed 0: " in said
    assert "tried again (1 of 1)" in said
    last = said.splitlines()[-1]
    assert last.startswith("error: 1 run failed: ")
    assert "the same command tries again" in last
    assert "Traceback" not in said
    assert RunFolder(tmp_path / "five_families" / "encoder_ae" / "seed0").is_("failed")
    assert RunFolder(tmp_path / "five_families" / "decoder_ar" / "seed0").is_("done")
    page = (tmp_path / "five_families" / "report" / "index.html").read_text()
    assert "failed" in page


@pytest.mark.slow
def test_a_run_that_memory_cannot_hold_is_one_line_before_any_starts(tmp_path: Path, cache: Path) -> None:
    huge = ["size.layers=64", "size.width=16384", "size.heads=128", "size.ffn=65536", "budget.match=none"]
    process = begin(tmp_path, cache, "launcher=local", *huge)
    said = process.communicate(timeout=200)[1].splitlines()
    assert process.returncode == 2
    assert said[-1].startswith("error: 1 processes of at least"), said[-1]
    assert "lower launcher.processes or size" in said[-1]
    assert not list(tmp_path.glob("*/*/seed0/recipe.yaml"))


@pytest.mark.slow
def test_what_is_interrupted_leaves_no_process_behind(tmp_path: Path, cache: Path) -> None:
    process = begin(tmp_path, cache, "launcher=local", "launcher.processes=1")
    folder = tmp_path / "five_families" / "encoder_ae" / "seed0"
    at_work = until(lambda: worker(folder), "the run trains", LONG)
    os.kill(process.pid, signal.SIGTERM)  # as Ctrl-C, which shells have background jobs ignore
    said = process.communicate(timeout=100)[1]
    assert process.returncode == 130
    assert "the same command continues" in said.splitlines()[-1]
    assert not at_work.is_running() or at_work.status() == psutil.STATUS_ZOMBIE
    assert json.loads((folder / "status.json").read_text())["state"] == "running"
    assert not RunFolder(folder).held
