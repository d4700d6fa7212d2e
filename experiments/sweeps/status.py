"""Shows how far a sweep's runs are, from their folders alone: whichever machine trains them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from archs.errors import UserError
from experiments.runs.folder import RunFolder, settled
from experiments.runs.reading import declared
from experiments.storage.json_files import read_record, read_tail

TAIL = 8192  # bytes at the end of metrics.jsonl: enough to hold its last row
REFRESH = 2.0  # seconds between two drawings of the table
NUMBERS = ("budget", "loss", "tok/s", "tries")
COLOURS = {"done": "green", "running": "cyan", "failed": "red", "diverged": "red", "interrupted": "yellow"}
STILL = 5  # drawings in a row without any run under way, before `watch` ends: a crashed run may be retried


@dataclass(frozen=True)
class Progress:
    """One run as it is now.

    over: whether nothing is left to do; state: as in status.json, but "interrupted" if that says "running"
    and no process has the run, and "queued" if a cluster's job has it; row: the last of metrics.jsonl;
    attempts: how often it was started; where: host, process and job; seconds_ago: since its state last
    changed; why: the reason that status.json gives for the state.
    """

    name: str
    seed: str
    over: bool
    state: str
    row: dict[str, Any]
    attempts: int
    where: str
    seconds_ago: float
    why: str


def progress(folder: Path) -> list[Progress]:
    """Returns a sweep's trials of tuning, then its runs. Raises UserError if `folder` holds no sweep."""
    places = list(_places(folder))
    if not places:
        raise UserError(f"'{folder}' holds no sweep; start one: pentarch sweep five_families")
    return [_progress(*place) for place in places]


def _places(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yields (arm, seed, folder), where a trial has the name of its point of the grid as its seed."""
    for trial in sorted(folder.glob("*/tuning/*/")):
        yield trial.parents[1].name, trial.name, trial
    for arm, seed in declared(folder):
        yield arm, str(seed), folder / arm / f"seed{seed}"


def _progress(arm: str, seed: str, path: Path) -> Progress:
    run = RunFolder(path)
    status = run.status
    state, job = status["state"], read_record(path / "job.json", "id", "ended")
    attempts = _attempts(path / "attempts.jsonl")
    rows = list(_rows(read_tail(run.metrics, TAIL)))
    if state == "running" and not run.held:
        state = "interrupted"
    if job and job["ended"]:
        job = None
    if job and state in ("pending", "interrupted", "failed"):
        state = "queued"
    last = attempts[-1] if attempts else {}
    where = f"{last['host']}:{last['process']}" if last else ""
    # At least 0: the clock of another machine may be ahead.
    ago = max(0.0, time.time() - status["time"]) if "time" in status else 0.0
    return Progress(
        arm,
        seed,
        settled(state, "trained" if path.parent.name == "tuning" else "done"),
        state,
        rows[-1] if rows else {},
        sum(each["what"] == "began" for each in attempts),
        f"{where} job {job['id']}".strip() if job else where,
        ago,
        " ".join(str(status.get("why", "")).split()),
    )


def _attempts(path: Path) -> list[dict[str, Any]]:
    return list(_rows(path.read_bytes())) if path.exists() else []


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    """Yields the complete rows: the first line may be cut by TAIL, the last still being written."""
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def table(folder: Path) -> Group:
    """Returns a table of the runs, and below it the number in each state, their hosts and their reasons."""
    return _drawn(folder.resolve().name, progress(folder))


def _drawn(sweep: str, runs: list[Progress]) -> Group:
    shown = Table(title=sweep, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    # No word is cut at any width, since arms may differ only at the end of their names. Hosts stand below the
    # table, where they have room.
    for heading in ("arm", "seed", "state", "budget", "loss", "tok/s", "tries", "for"):
        shown.add_column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)
    for run in runs:
        row, live = run.row, run.state == "running"
        shown.add_row(
            run.name,
            run.seed,
            Text(run.state, COLOURS.get(run.state, "")),
            f"{row['fraction']:.0%}" if row else "",
            f"{row['loss']:.2f}" if row else "",
            f"{row['tokens_per_second']:,.0f}" if row and live else "",
            str(run.attempts or ""),
            _duration(run.seconds_ago) if live else "",
        )
    counts = ", ".join(f"{number} {state}" for state, number in Counter(run.state for run in runs).items())
    details = [(run, run.where) for run in runs if run.where and run.state in ("running", "queued")]
    details += [(run, run.why) for run in runs if run.why]
    lines = [f"{run.name}, seed {run.seed}: {run.state}: {detail}" for run, detail in details]
    return Group(shown, Text(f"{len(runs)} runs: {counts}"), *(Text(line) for line in lines))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def watch(folder: Path) -> None:
    """Draws the table again every two seconds, until all runs are over, or failed and no longer retried."""
    still, name = 0, folder.resolve().name
    with Live(auto_refresh=False) as live:
        while True:
            runs = progress(folder)
            live.update(_drawn(name, runs), refresh=True)
            still = still + 1 if all(run.over or run.state == "failed" for run in runs) else 0
            if still == STILL or all(run.over for run in runs):
                return
            time.sleep(REFRESH)
