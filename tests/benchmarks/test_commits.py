"""Two commits of a small repository, whose training benchmark reads its seconds from the commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAIN = """
import argparse, json
from pathlib import Path
from archs.speed import SECONDS

parser = argparse.ArgumentParser()
parser.add_argument("--ours", action="store_true", required=True)
parser.add_argument("--families")
parser.add_argument("--json", type=Path)
asked = parser.parse_args()
names = asked.families.split(",")
rows = [{"family": name, "system": "pentarch", "seconds": [SECONDS, SECONDS]} for name in names]
asked.json.write_text(json.dumps(rows))
"""


def git(repository: Path, *words: str) -> str:
    named = ("-c", "user.name=nobody", "-c", "user.email=nobody@nowhere", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *named, *words], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Steps of 40 ms, tagged `slow`, without benchmarks/train.py; then of 10 ms, tagged `fast`, with it."""
    for name in ("archs", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    shutil.copy(ROOT / "archs" / "errors.py", tmp_path / "archs")
    for name in ("command.py", "commits.py", "measuring.py"):
        shutil.copy(ROOT / "benchmarks" / name, tmp_path / "benchmarks")
    (tmp_path / ".gitignore").write_text("__pycache__\n")
    git(tmp_path, "init", "--quiet")
    for tag, seconds in (("slow", 0.04), ("fast", 0.01)):
        (tmp_path / "archs" / "speed.py").write_text(f"SECONDS = {seconds}\n")
        if tag == "fast":
            (tmp_path / "benchmarks" / "train.py").write_text(TRAIN)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "-m", f"a {tag} one")
        git(tmp_path, "tag", tag)
    return tmp_path


def commits(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(repository), "COLUMNS": "150"}
    command = [sys.executable, "-m", "benchmarks.commits", *words]
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_both_commits_are_measured_by_the_benchmark_of_the_new_one_and_no_worktree_is_left(repository: Path):
    done = commits(repository, "slow", "fast", "--rounds", "2", "--", "--families", "decoder_ar,prefix_lm")
    assert done.returncode == 0, done.stderr
    for family in ("decoder_ar", "prefix_lm"):
        row = next(line for line in done.stdout.splitlines() if family in line)
        assert "40.0 (40.0-40.0)" in row
        assert "10.0 (10.0-10.0)" in row
        assert "4.000 (4.000-4.000)x" in row
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_the_working_tree_is_the_new_one_where_none_is_given(repository: Path):
    (repository / "archs" / "speed.py").write_text("SECONDS = 0.005\n")
    done = commits(repository, "fast", "--rounds", "2", "--", "--families", "decoder_ar")
    assert "2.000 (2.000-2.000)x" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "'nowhere' is no commit of this repository"),
        (("fast", "slow"), "a slow one' has no benchmarks/train.py"),
        (("slow", "fast", "--", "--families", "decoder_ar", "--unheard-of"), "unrecognized arguments"),
        (("broken", "fast", "--", "--families", "decoder_ar"), "No module named 'archs.speed'"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line_and_no_worktree_is_left(
    repository: Path, words: tuple[str, ...], told: str
):
    git(repository, "checkout", "--quiet", "slow")
    git(repository, "rm", "--quiet", "archs/speed.py")
    git(repository, "commit", "--quiet", "-m", "a broken one")
    git(repository, "tag", "broken")
    done = commits(repository, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert len(git(repository, "worktree", "list").splitlines()) == 1
