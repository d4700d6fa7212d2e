"""Kills launchers, workers and whole nodes at random moments, and compares with an undisturbed sweep.

    python benchmarks/kills.py --kills 100                     launcher=local, two processes
    python benchmarks/kills.py --kills 20 --launcher slurm     two nodes of its own Slurm (needs root)

A small sweep runs undisturbed once. Then it runs again and again under SIGKILL, until the requested number of
kills is reached. Each sweep that ended must equal the undisturbed one to the last bit in weights, scores,
metrics and audits (except seconds). No run may be missing, and none may run twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

SWEEP = ["sweep", "five_families", "~arms.encoder_decoder", "~arms.prefix_lm", "seeds=2", "size=tiny"]
SMALL = ["budget=smoke", "budget.amount=300", "tracking=none", "training.batch=16", "training.threads=1"]
SMALL += ["training.accelerator=cpu", "training.checkpoint_every=8", "evaluation.finetune.steps=4"]
SMALL += [
    "evaluation.likelihood_windows=8",
    "evaluation.pseudo_likelihood_windows=2",
    "launcher.retries=1000",
]
LAUNCHERS = {
    "local": ["launcher=local", "launcher.processes=2"],
    "slurm": ["launcher=slurm", "launcher.cpus=1", "launcher.time=30"],
}
BETWEEN = (1.0, 20.0)  # seconds from one kill to the next
SECONDS = {"seconds", "tokens_per_second", "time"}  # keys that differ between any two runs


@dataclass
class Tally:
    """Counts of kills, and of the states of the runs whose workers were killed."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    together: set[str] = field(default_factory=set)  # runs with two processes at a time
    down: set[str] = field(default_factory=set)  # Slurm nodes that are stopped now


def command(out: Path, cache: Path, launcher: str) -> list[str]:
    places = [f"out={out}", f"data.cache={cache}"]
    return [sys.executable, "-m", "experiments", *SWEEP, *SMALL, *places, *LAUNCHERS[launcher]]


def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)


def workers(out: Path) -> list[tuple[psutil.Process, Path]]:
    """(process, folder) of each live worker of a run below `out`."""
    live = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "work" in words[:4] and process.info["status"] != psutil.STATUS_ZOMBIE:
            folder = Path(words[words.index("work") + 1])
            if folder.is_relative_to(out.absolute()):
                live.append((process, folder))
    return live


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def moment(folder: Path) -> str:
    """What a run's worker was doing, by the status in its folder."""
    with suppress(OSError, ValueError):
        state = json.loads((folder / "status.json").read_text())["state"]
        return {"running": "training", "trained": "scoring"}.get(state, "starting or ending")
    return "starting or ending"


def record_doubled_runs(out: Path, tally: Tally) -> None:
    """Records runs that two live processes have begun, which must not happen."""
    live: Counter[Path] = Counter()
    for process, folder in workers(out):
        began = [row for row in rows(folder / "attempts.jsonl") if row["process"] == process.pid]
        live[folder] += len(began) == 1 and began[0]["what"] == "began"
    tally.together |= {str(folder) for folder, number in live.items() if number > 1}


def kill(target: str, out: Path, launcher: subprocess.Popen[bytes], tally: Tally, cluster: Any) -> None:
    """Sends SIGKILL to a launcher, a worker or a node, if there is one."""
    live = workers(out)
    if target == "worker":
        if not live:
            return
        process, folder = random.choice(live)
        tally.moments[moment(folder)] += 1
        with suppress(psutil.NoSuchProcess):
            process.kill()
    elif target == "node":
        tally.moments.update(moment(folder) for _, folder in live)
        if cluster is None:  # as if the whole machine lost power
            launcher.kill()
            for process, _ in live:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        else:
            cluster.stop_node(random.choice(sorted({"one", "two"} - tally.down)))
            tally.down.add(cluster.stopped[-1])
    else:
        launcher.kill()
    launcher.poll()
    tally.kills[target] += 1


def disturbed(words: list[str], out: Path, log: Path, tally: Tally, kills: int, cluster: Any) -> None:
    """Runs one sweep to its end, with kills on the way while the total is below `kills`."""
    process = start(words, log)
    while True:
        until = time.monotonic() + random.uniform(*BETWEEN)
        while time.monotonic() < until and process.poll() is None:
            record_doubled_runs(out, tally)
            if cluster is not None:
                cluster.hurry()
            time.sleep(0.2)
        if cluster is not None:
            for node in tally.down:
                cluster.start_node(node)
            tally.down.clear()
        if process.poll() == 0:
            return
        if process.poll() is not None and process.returncode > 0:
            sys.exit(f"the sweep ended with exit code {process.returncode}; see {log}")
        if process.poll() is None and tally.kills.total() < kills:
            kill(random.choice(["launcher", "worker", "worker", "node"]), out, process, tally, cluster)
            print(f"\r{tally.kills.total()} of {kills} kills", end="", file=sys.stderr, flush=True)
        if process.poll() is not None:
            process = start(words, log)


def without_seconds(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: without_seconds(value) for key, value in content.items() if key not in SECONDS}
    return [without_seconds(each) for each in content] if isinstance(content, list) else content


def differences(one: Path, two: Path) -> Iterator[str]:
    """Differences between the runs of two sweeps, except seconds, and runs that only one has."""
    places = [sorted(path.relative_to(each) for path in each.glob("*/seed*")) for each in (one, two)]
    if places[0] != places[1]:
        yield f"other runs: {places}"
    for place in places[0]:
        a, b = one / place, two / place
        if json.loads((b / "status.json").read_text())["state"] != "done":
            yield f"{place}: not done"
            continue
        if (a / "model.safetensors").read_bytes() != (b / "model.safetensors").read_bytes():
            yield f"{place}: weights"
        for table in sorted((a / "scores").glob("*.parquet")):
            if not pd.read_parquet(table).equals(pd.read_parquet(b / "scores" / table.name)):
                yield f"{place}: {table.name}"
        if without_seconds(rows(a / "metrics.jsonl")) != without_seconds(rows(b / "metrics.jsonl")):
            yield f"{place}: metrics.jsonl"
        for name in ("audit.json", "evaluation.json", "samples.json", "gates.json"):
            left, right = (without_seconds(json.loads((each / name).read_text())) for each in (a, b))
            if left != right:
                yield f"{place}: {name}"


def run_twice(out: Path) -> list[str]:
    """Folders of runs that were begun again after they were done."""
    attempts = {path: [row["what"] for row in rows(path)] for path in out.glob("*/*/seed*/attempts.jsonl")}
    return [str(path.parent) for path, events in attempts.items() if "done" in events[:-1]]


@contextmanager
def slurm(place: Path) -> Iterator[Any]:
    """Starts the tests' Slurm on this machine, with two nodes."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.experiments.slurm_cluster import cluster, missing

    if why := missing():
        sys.exit(why)
    with cluster(place) as running:
        os.environ.update(running.environment)  # so that commands started from here use it
        yield running


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--launcher", choices=list(LAUNCHERS), default="local")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    os.environ["OMP_NUM_THREADS"] = "1"
    tally, compared, started = Tally(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        with slurm(place / "cluster") if options.launcher == "slurm" else nullcontext() as cluster:
            log, cache, plain = place / "log.txt", place / "cache", place / "undisturbed"
            if start(command(plain, cache, options.launcher), log).wait() != 0:
                sys.exit(f"the undisturbed sweep failed:\n{log.read_text()[-2000:]}")
            faults: list[str] = []
            while tally.kills.total() < options.kills:
                out = place / f"disturbed{compared}"
                disturbed(command(out, cache, options.launcher), out, log, tally, options.kills, cluster)
                faults += differences(plain / "five_families", out / "five_families")
                faults += [f"{each}: run twice" for each in run_twice(out)]
                compared += 1
            faults += [f"{each}: two processes at a time" for each in tally.together]
            attempts = sum(
                row["what"] == "began"
                for path in place.glob("disturbed*/*/*/seed*/attempts.jsonl")
                for row in rows(path)
            )
            runs = len(list(place.glob("disturbed*/*/*/seed*")))
    print(
        f"\n{tally.kills.total()} kills: "
        + ", ".join(f"{n} of a {what}" for what, n in sorted(tally.kills.items()))
    )
    print("workers killed while " + ", ".join(f"{what}: {n}" for what, n in sorted(tally.moments.items())))
    print(f"{compared} sweeps ended: {runs} runs, {attempts} attempts, {time.monotonic() - started:.0f} s")
    print(
        "differences from the undisturbed sweep, runs missing, runs run twice: "
        + ("; ".join(faults) or "none")
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        main()
