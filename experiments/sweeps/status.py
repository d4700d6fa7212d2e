"""How far a sweep's runs are, from their folders alone: on this machine or on whatever writes them."""

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

TAIL = 8192  # bytes of metrics.jsonl in which its last row is
REFRESH = 2.0  # seconds
NUMBERS = ("budget", "loss", "tok/s", "tries")
COLOURS = {"done": "green", "running": "cyan", "failed": "red", "diverged": "red", "interrupted": "yellow"}
STILL = 5  # looks, one after another, at which nothing is under way: a crashed run may be tried again


@dataclass(frozen=True)
class Progress:
    """One run now. over: nothing is left to do. state: as in status.json, but "interrupted" for one that runs
    by its own account only, and "queued" for one that a cluster has. row: its last of metrics.jsonl."""

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
    """Every run that the sweep declares, and every trial of its tuning. UserError if it is no sweep."""
    places = list(_places(folder))
    if not places:
        raise UserError(f"'{folder}' holds no sweep; start one: pentarch sweep five_families")
    return [_progress(*place) for place in places]


def _places(folder: Path) -> Iterator[tuple[str, str, Path]]:
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
    ago = max(0.0, time.time() - status["time"]) if "time" in status else 0.0  # clocks may differ, and jump
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
    """The lines that are whole: one is being written, perhaps, and the first may begin before TAIL."""
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def table(folder: Path) -> Group:
    """The runs as one table, and how many are in which state."""
    return _drawn(folder.resolve().name, progress(folder))


def _drawn(sweep: str, runs: list[Progress]) -> Group:
    shown = Table(title=sweep, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    # No word is cut at any width, for arms may differ in a name's end; where runs are is told below.
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
            _lasting(run.seconds_ago) if live else "",
        )
    counts = ", ".join(f"{number} {state}" for state, number in Counter(run.state for run in runs).items())
    told = [(run, run.where) for run in runs if run.where and run.state in ("running", "queued")]
    told += [(run, run.why) for run in runs if run.why]
    lines = [f"{run.name}, seed {run.seed}: {run.state}: {words}" for run, words in told]
    return Group(shown, Text(f"{len(runs)} runs: {counts}"), *(Text(line) for line in lines))


def _lasting(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def watch(folder: Path) -> None:
    """The table, drawn again every two seconds until all runs are over, or failed and left so."""
    still, name = 0, folder.resolve().name
    with Live(auto_refresh=False) as live:
        while True:
            runs = progress(folder)
            live.update(_drawn(name, runs), refresh=True)
            still = still + 1 if all(run.over or run.state == "failed" for run in runs) else 0
            if still == STILL or all(run.over for run in runs):
                return
            time.sleep(REFRESH)
