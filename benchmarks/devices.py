"""Tokens a second of one process against several that train one run by DDP, through `pentarch train`.

    python -m benchmarks.devices [--devices 2] [--rows 32] [--steps 200] [OVERRIDE …]

Trains a decoder-AR with the same rows on each device, so that two devices have twice the batch. Overrides are
those of `pentarch train`, as `size=base10m training=gpu training.compile=true`. Measured by the wall clock
from one record to the next, every ten steps; shows the median and the middle half. Goal: with two GPUs, 1.8
times the speed of one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from archs.errors import UserError
from benchmarks import command
from benchmarks.measuring import Spread, machine
from experiments.storage.json_files import read_lines

GOAL = 0.9  # times the number of devices
EVERY = 10  # steps between records
WARM_UP = 5  # records that do not count: compilation, caches, the first validation
LOOK_SECONDS = 0.001


def measure(devices: int, options: argparse.Namespace, overrides: list[str], folder: Path) -> Spread:
    """Trains on this many devices and returns its tokens a second."""
    command = [sys.executable, "-m", "experiments", "train", "family=decoder_ar", "budget.stop=steps"]
    command += [f"budget.amount={options.steps}", f"training.log_every={EVERY}", "tracking=none"]
    command += ["training.checkpoint_every=1000000", *overrides, f"training.devices={devices}"]
    command += [f"training.batch={options.rows * devices}", f"out={folder}", f"name=of_{devices}"]
    metrics = folder / "train" / f"of_{devices}" / "seed0" / "metrics.jsonl"
    with (folder / f"said{devices}").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    records: list[tuple[float, int]] = []  # when a record appeared, and its tokens
    size = 0
    while process.poll() is None:
        if metrics.exists() and metrics.stat().st_size > size:
            size = metrics.stat().st_size
            records.append((time.perf_counter(), read_lines(metrics)[-1]["tokens"]))
        time.sleep(LOOK_SECONDS)
    if process.returncode:
        sys.exit((folder / f"said{devices}").read_text())
    counted = records[WARM_UP:]
    return Spread.of([(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(counted)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--rows", type=int, default=32, help="of each device")
    parser.add_argument("--steps", type=int, default=200)
    options, overrides = parser.parse_known_args()
    if options.steps < EVERY * 2 * WARM_UP:
        raise UserError(f"--steps {options.steps}: give at least {EVERY * 2 * WARM_UP}")
    on_gpus = torch.cuda.device_count() >= options.devices
    overrides = [f"training.accelerator={'gpu' if on_gpus else 'cpu'}", *overrides]
    with tempfile.TemporaryDirectory() as place:
        one, several = (measure(devices, options, overrides, Path(place)) for devices in (1, options.devices))
    ratio, goal = several.median / one.median, GOAL * options.devices
    table = Table("devices", "tokens/s", "times one", title=" ".join(["decoder_ar, DDP:", *overrides]))
    table.add_row("1", one.shown(), "1.00")
    table.add_row(str(options.devices), several.shown(), f"{ratio:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{machine()}, {options.rows} rows a device, {options.steps} steps; goal {goal:.1f}")
    if not on_gpus:
        console.print(
            f"There are no {options.devices} GPUs: processes on a CPU share its cores, so this shows that "
            "they train together and not that they are faster."
        )
        return 0
    return 0 if ratio >= goal else 1


if __name__ == "__main__":
    command.run(main)
