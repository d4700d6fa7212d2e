"""Training speed of one commit beside another, on the same work.

    python -m benchmarks.commits OLD [NEW] [--rounds 3] [-- arguments of benchmarks.train]

Without NEW, the working tree is measured as it is when the command starts. Both commits are written to a
temporary folder, and `python -m benchmarks.train --ours` runs in fresh processes, in turns: OLD NEW OLD NEW …
The benchmarks of NEW measure both, so that only archs, objectives and experiments differ. An OLD that lacks
what they import cannot be measured. A ratio compares the median steps of neighbouring processes.
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
    """Writes a commit's files to this new folder; None = the files of the working tree."""
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
    """Runs the benchmark on the commit in this folder, in a process of its own, and returns its rows."""
    output = folder / "measured.json"
    output.unlink(missing_ok=True)
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", "--ours", *arguments, "--json", str(output)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    if not output.exists():  # not the exit code, since a missed goal has one too
        last_line = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UserError(
            f"benchmarks.train cannot measure '{name}' (exit code {process.returncode}: {last_line[0]}); "
            "give a commit that has what it imports, and arguments that it knows"
        )
    return json.loads(output.read_text())


def add(medians: Medians, rows: list[dict]) -> None:
    """Adds the medians of one process.

    Several rows of a system, as for two lengths of windows, are numbered.
    """
    times_seen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        system = (row["family"], row["system"])
        times_seen[system] += 1
        medians.setdefault((*system, times_seen[system]), []).append(statistics.median(row["seconds"]))


def compare(old: str, new: str | None, rounds: int, arguments: Sequence[str]) -> Table:
    """Measures both in turns, in `rounds` processes each. Raises UserError if one cannot be measured."""
    names = [described(old), TREE if new is None else described(new)]
    medians_of_both: list[Medians] = [{}, {}]
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
            for folder, name, medians in zip((before, after), names, medians_of_both, strict=True):
                add(medians, measure(folder, name, arguments))
    return table(names, medians_of_both, rounds)


def table(names: list[str], medians_of_both: list[Medians], rounds: int) -> Table:
    shown = Table(title=f"OLD: {names[0]}\nNEW: {names[1]}\nmedian (middle half) of {rounds} processes each")
    for heading in ("family", "system"):
        shown.add_column(heading)
    for heading in ("OLD, ms a step", "NEW, ms a step", "NEW is, times as fast"):
        shown.add_column(heading, justify="right")
    before, after = medians_of_both
    for key, seconds in before.items():
        each = [Spread.of([1e3 * one for one in part]).shown(",.1f") for part in (seconds, after[key])]
        shown.add_row(*key[:2], *each, ratio(after[key], seconds).shown(".3f") + "x")
    return shown


def described(commit: str) -> str:
    """The commit's short hash and first line. Raises UserError if there is no such commit."""
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
    options = parser.parse_args(words[:end])
    console = Console()
    console.print(compare(options.old, options.new, command.rounds(options.rounds), words[end + 1 :]))
    console.print(machine(), highlight=False)


if __name__ == "__main__":
    command.run(main)
