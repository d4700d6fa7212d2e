"""nanoGPT's two results on the characters of tinyshakespeare, with our decoder-AR and with a plain GPT-2.

    python -m benchmarks.shakespeare --text FOLDER_OR_FILE [--setting cpu|gpu] [--system pentarch|reference]

Both read the same batches with the same optimiser and schedule, in turns of 250 iterations. The settings are
those of nanoGPT's README (Karpathy, github.com/karpathy/nanoGPT). Its results are 1.88 nats a character (cpu)
and 1.4697 (gpu), the best of its evaluations.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from archs.errors import UserError
from benchmarks import command
from benchmarks.characters import SYSTEMS, Run, Setting, Text
from benchmarks.measuring import Spread, machine, ratio

FILE = "tinyshakespeare.txt"
EVALUATE_EVERY = 250
SETTINGS = {
    "cpu": Setting(4, 4, 128, 64, rows=12, iterations=2000, dropout=0.0, estimate=20),
    "gpu": Setting(6, 6, 384, 256, rows=64, iterations=5000, dropout=0.2, estimate=200),
}
POINTS = {"cpu": 1.88, "gpu": 1.4697}  # stated by nanoGPT
DEVICES = {"cpu": "cpu", "gpu": "cuda"}
COLUMNS = ("system", "seed", "iterations", "loss, last", "best", "estimate, last", "best")
COLUMNS += ("seconds", "characters/s", "times as fast")


def trained(systems: list[str], seed: int, setting: Setting, text: Text, device: torch.device) -> list[Run]:
    """Trains the systems in turns and returns them after all iterations."""
    runs = [Run(system, seed, setting, text, device) for system in systems]
    block = min(EVALUATE_EVERY, -(-setting.iterations // 2))
    for start in range(0, setting.iterations, block):
        for run in runs:
            run.advance(min(block, setting.iterations - start))
    return runs


def rows(runs: list[Run]) -> Iterator[tuple[str, ...]]:
    """Table rows of one seed; speeds are relative to the first system."""
    for run in runs:
        losses = (run.whole[-1], min(run.whole), run.estimated[-1], min(run.estimated))
        faster = "" if run is runs[0] else ratio(run.seconds, runs[0].seconds).shown(".2f")
        yield (
            run.system,
            str(run.seed),
            f"{run.done:,}",
            *(f"{loss:.4f}" for loss in losses),
            f"{sum(run.seconds):,.1f}",
            Spread.of(run.rates).shown(),
            faster,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help=f"a file, or the folder of {FILE}")
    parser.add_argument("--setting", choices=SETTINGS, default="cpu")
    parser.add_argument("--system", choices=("both", *SYSTEMS), default="both")
    parser.add_argument("--iterations", type=int, help="in place of the setting's, 2 or more")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="in place of the setting's")
    options = parser.parse_args()
    if options.iterations is not None and options.iterations < 2:
        raise UserError(f"--iterations {options.iterations}: give 2 or more, each block of them is timed")
    device = command.device(options.device or DEVICES[options.setting])
    setting = SETTINGS[options.setting]
    setting = replace(setting, iterations=options.iterations or setting.iterations)
    file = options.text / FILE if options.text.is_dir() else options.text
    if not file.is_file():
        raise UserError(f"--text {options.text}: no file '{file}'; give a text, or the folder of {FILE}")
    text = Text(file.read_text(encoding="utf-8"))
    systems = list(SYSTEMS) if options.system == "both" else [options.system]
    table = Table(title=f"{file.name}, setting {options.setting}; nanoGPT states {POINTS[options.setting]}")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for seed in options.seeds:
        for row in rows(trained(systems, seed, setting, text, device)):
            table.add_row(*row)
    console = Console(width=140)
    console.print(table)
    console.print(
        f"Nats a character on validation: loss over all of it, estimate over {setting.estimate} random "
        "batches as nanoGPT's. Seconds are of training alone; speeds are medians of its blocks (middle half)."
    )
    console.print(machine())


if __name__ == "__main__":
    command.run(main)
