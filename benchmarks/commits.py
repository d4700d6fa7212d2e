"""How fast one commit trains beside another, on the same work.

    python -m benchmarks.commits OLD [NEW] [--rounds 3] [-- arguments of benchmarks.train]

NEW is the working tree if it is not given, as it is when the command starts. Both are laid out in a temporary
folder and `python -m benchmarks.train --ours` is run in fresh processes, in turns: OLD NEW OLD NEW … The
benchmarks of NEW measure both, so that what differs is archs, objectives and experiments; an OLD that lacks
what they import cannot be measured. A ratio is that of the median steps of neighbouring processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from archs.errors import UserError
from benchmarks import command
from benchmarks.measuring import Spread, machine, ratio

ROOT = Path(__file__).parents[1]
TREE = "the working tree"
Medians = dict[
    tuple[str, str, int], list[float]
]  # seconds a step, of each process; by family, system, number


@contextmanager
def laid_out(commit: str | None, place: Path) -> Iterator[Path]:
    """The commit's files in this new folder, None = those of the working tree."""
    if commit is None:
        for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
            if name and (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place / name)
        yield place
        return
    git("worktree", "add", "--detach", str(place), commit)
    try:
        yield place
    finally:
        git("worktree", "remove", "--force", str(place))


def measure(folder: Path, name: str, arguments: Sequence[str]) -> list[dict]:
    """The rows that the benchmark wrote of the commit in this folder, in a process of its own."""
    written = folder / "measured.json"
    written.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", "--ours", *arguments, "--json", str(written)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    if not written.exists():  # a goal that was missed is an exit code too
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UserError(
            f"benchmarks.train cannot measure '{name}' (exit code {done.returncode}: {last[0]}); give a "
            "commit that has what it imports, and arguments that it knows"
        )
    return json.loads(written.read_text())


def add(medians: Medians, rows: list[dict]) -> None:
    """One process's. Where a system did several works, as windows of two lengths, they are numbered."""
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        what = (row["family"], row["system"])
        seen[what] += 1
        medians.setdefault((*what, seen[what]), []).append(statistics.median(row["seconds"]))


def compare(old: str, new: str | None, rounds: int, arguments: Sequence[str]) -> Table:
    """Both in turns, `rounds` processes each. Raises UserError if one cannot be measured."""
    names = [described(old), TREE if new is None else described(new)]
    found: list[Medians] = [{}, {}]
    with (
        tempfile.TemporaryDirectory() as place,
        laid_out(old, Path(place) / "old") as before,
        laid_out(new, Path(place) / "new") as after,
    ):
        if not (after / "benchmarks" / "train.py").exists():
            raise UserError(
                f"'{names[1]}' has no benchmarks/train.py; give a NEW that has it, or leave it out"
            )
        shutil.rmtree(before / "benchmarks", ignore_errors=True)
        shutil.copytree(after / "benchmarks", before / "benchmarks")
        for _ in range(rounds):
            for folder, name, medians in zip((before, after), names, found, strict=True):
                add(medians, measure(folder, name, arguments))
    return table(names, found, rounds)


def table(names: list[str], found: list[Medians], rounds: int) -> Table:
    shown = Table(title=f"OLD: {names[0]}\nNEW: {names[1]}\nmedian (middle half) of {rounds} processes each")
    for heading in ("family", "system"):
        shown.add_column(heading)
    for heading in ("OLD, ms a step", "NEW, ms a step", "NEW is, times as fast"):
        shown.add_column(heading, justify="right")
    before, after = found
    for key, seconds in before.items():
        each = [Spread.of([1e3 * one for one in part]).shown(",.1f") for part in (seconds, after[key])]
        shown.add_row(*key[:2], *each, ratio(after[key], seconds).shown(".3f") + "x")
    return shown


def described(commit: str) -> str:
    """The commit's short hash and first line. Raises UserError for what is none."""
    try:
        return git("log", "-1", "--format=%h %s", f"{commit}^{{commit}}", "--").strip()
    except subprocess.CalledProcessError as error:
        raise UserError(
            f"'{commit}' is no commit of this repository; give a hash, a branch or a tag"
        ) from error


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main() -> None:
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog="after -- come arguments of benchmarks.train"
    )
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", nargs="?", help="a commit; the working tree if it is not given")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each (3)")
    asked = parser.parse_args(words[:end])
    console = Console()
    console.print(compare(asked.old, asked.new, command.rounds(asked.rounds), words[end + 1 :]))
    console.print(machine(), highlight=False)


if __name__ == "__main__":
    command.run(main)
