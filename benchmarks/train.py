"""Training speed of each family against peers on the same work and against the machine's limit.

    python -m benchmarks.train [--families encoder_ae,decoder_ar] [--rounds 15] [--compile] [--memory]
    python -m benchmarks.train --gpu [--families …] [--length 512]    # the shapes of the GPU's goals

A step is forward, backward, clipping and optimiser, and for ours also its data; peers have their data ready.
All systems of a family take turns in one process. A row has the median over rounds and their middle half.
"pentarch is": how many times as fast as this peer, from neighbouring steps. "of limit": the time that the
needed FLOPs would take at the machine's rate for the same matrix products, over the time of the step
(benchmarks/limit.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import command
from benchmarks.measuring import Spread, machine, ratio
from benchmarks.training import LIMIT, LIMIT_OF_TORCH, OURS, RATE, Measured, Row, Settings
from benchmarks.variants import compared
from benchmarks.workload import ALL, Shape, families_of

OF_LIMIT = 0.75
GOALS = {  # on two CPU cores, at the default shape: times as fast
    "Hugging Face BERT": ("encoder_ae", 2.5),
    "Hugging Face GPT-2": ("decoder_ar", 1.7),
    "Hugging Face T5": ("encoder_decoder", 2.0),
    "Hugging Face XLNet": ("permuted_lm", 3.0),
}
GPU_GOALS = {"nanoGPT": 1.0}  # times as fast; 1.5 for Hugging Face
GPU_OF_RATE = {"decoder_ar": 0.45, "encoder_ae": 0.45}  # 0.35 for the other families
GPU = {"layers": 12, "width": 768, "heads": 12, "vocabulary": 32768}
GPU_LENGTHS, GPU_TOKENS = (512, 1024), 2**14


def table(measured: Measured) -> tuple[Table, bool]:
    """The family's table, and whether it misses a goal."""
    settings = measured.settings
    shown = Table(title=f"{measured.family}: {described(settings)}")
    headings = ["system", "parameters", "tokens/s", "targets/s", "pentarch is", "of limit", "goal"]
    if settings.memory:
        headings.insert(4, "peak memory")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in ("system", "goal") else "right")
    missed = False
    for row in measured.rows:
        cells, reached = compare(measured, row)
        missed |= reached is False
        if settings.memory:
            cells.insert(4, "" if row.memory is None else f"{row.memory / 2**20:,.0f} MiB")
        shown.add_row(*cells)
    return shown, missed


def compare(measured: Measured, row: Row) -> tuple[list[str], bool | None]:
    """The cells of a row, and whether it reaches its goal; None without a goal."""
    if row.missing:
        return [f"{row.system}: {row.missing}", "not installed", "", "", "", "", ""], None
    system, speed = row.system, Spread.of([row.tokens / each for each in row.seconds])
    cells = [system, "", speed.shown(), f"{speed.median * row.targets / row.tokens:,.0f}", "", "", ""]
    if system in (LIMIT, LIMIT_OF_TORCH, RATE):
        cells[0] = f"{system}, {speed.median * row.flops / row.tokens / 1e9:,.0f} GFLOP/s"
        return cells, None
    assert row.parameters is not None
    cells[1] = f"{row.parameters / 1e6:.2f} M"
    times = share = None
    if system != OURS:
        times = ratio(measured.row(OURS).seconds, row.seconds)
        cells[4] = times.shown(".2f") + "x"
    if not measured.settings.alone:
        share = ratio(row.seconds, measured.row(LIMIT if measured.on_cpu else RATE).seconds)
        cells[5] = share.shown(".0%")
    goal = goal_of(measured, system)
    if goal is None:
        return cells, None
    least, form = goal
    value = share if system == OURS else times
    assert value is not None
    cells[6] = f"{least:{form}}: {'reached' if value.median >= least else 'missed'}"
    return cells, value.median >= least


def goal_of(measured: Measured, system: str) -> tuple[float, str] | None:
    """The goal of a row and the format to print it in; None without a goal."""
    settings = measured.settings
    if settings.packed or settings.alone:
        return None
    if not measured.on_cpu:
        return goal_on_a_gpu(settings, measured.family, system)
    if settings.shape != Shape():
        return None
    if system == OURS:
        return OF_LIMIT, ".0%"
    family, least = GOALS.get(system, ("", 0.0))
    return (least, ".1f") if family == measured.family else None


def goal_on_a_gpu(settings: Settings, family: str, system: str) -> tuple[float, str] | None:
    shape = settings.shape
    if not settings.autocast or any(getattr(shape, name) != value for name, value in GPU.items()):
        return None
    if system == OURS:
        return GPU_OF_RATE.get(family, 0.35), ".0%"
    least = GPU_GOALS.get(system, 1.5 if system.startswith("Hugging Face") else None)
    return None if least is None else (least, ".1f")


def described(settings: Settings) -> str:
    shape = settings.shape
    return (
        f"{shape.layers} layers x {shape.width}, vocabulary {shape.vocabulary:,}, "
        f"{shape.rows} x {shape.length} {'packed' if settings.packed else 'plain'} rows, "
        f"{str(settings.dtype).removeprefix('torch.')}{', compiled' if settings.compiled else ''}, "
        f"{settings.rounds} rounds"
    )


def variants(settings: Settings, families: list[str]) -> Table:
    """A table of the pairs of our own steps (benchmarks/variants.py)."""
    shown = Table(title=f"pentarch beside itself: {described(settings)}")
    for heading in ("step of", "over a step of", "times as long", "goal"):
        shown.add_column(heading, justify="right" if heading == "times as long" else "left")
    for pair, times in compared(settings, families):
        goal = ""
        if pair.goal is not None:
            goal = f"at most {pair.goal:.2f}: {'reached' if times.median <= pair.goal else 'missed'}"
        shown.add_row(", ".join(pair.work), ", ".join(pair.base), times.shown(".2f"), goal)
    return shown


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", default=ALL, help="with commas between them")
    for part in fields(Shape):
        parser.add_argument(
            f"--{part.name}", type=int, help=f"{part.default} if neither this nor --gpu is given"
        )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="ours and the peers")
    parser.add_argument("--packed", action="store_true", help="documents of some 64 tokens, several a row")
    parser.add_argument("--memory", action="store_true", help="peak memory too, in a process each on a CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--gpu", action="store_true", help="12 layers x 768 on cuda, bfloat16, all compiled")
    parser.add_argument("--ours", action="store_true", help="neither peers nor limit")
    parser.add_argument(
        "--variants", action="store_true", help="packed rows, prefix and order beside without"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all seconds, for other tools")
    return parser.parse_args()


def settings_of(options: argparse.Namespace) -> Iterator[Settings]:
    """The settings to measure: one, or with --gpu one for each length."""
    own = {part.name: value for part in fields(Shape) if (value := getattr(options, part.name)) is not None}
    shapes = [Shape(**own)]
    if options.gpu:
        lengths = (options.length,) if options.length else GPU_LENGTHS
        shapes = [Shape(**(GPU | {"rows": GPU_TOKENS // each} | own | {"length": each})) for each in lengths]
    for shape in shapes:
        yield Settings(
            shape,
            command.device("cuda" if options.gpu else options.device),
            command.rounds(options.rounds),
            compiled=options.compile or options.gpu,
            packed=options.packed,
            autocast=options.gpu,
            alone=options.ours,
            memory=options.memory,
        )


def main() -> int:
    options = arguments()
    families = families_of(options.families)
    console, rows, any_missed = Console(width=None if sys.stdout.isatty() else 150), [], False
    for settings in settings_of(options):
        for family in families:
            measured = Measured(settings, family)
            shown, missed = table(measured)
            console.print(shown)
            rows += measured.rows
            any_missed |= missed
        if options.variants or options.gpu:
            console.print(variants(settings, families))
    console.print(machine())
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows]))
    return 1 if any_missed else 0


if __name__ == "__main__":
    command.run(main)
