"""Speed of building batches: tokens of raw text a second, on one core.

    python -m benchmarks.objectives [REPEATS]

Every objective in every layout that it can train, the presets of mixtures, and MLM with every selection and
replacement, dynamic and static; on full rows and on packed rows. Shows the median over repeats and their
middle half (the spread). Goal: 1 M tokens/s at 64 x 256, so that a step never waits for the loader.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace as with_changes
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from archs import FAMILIES
from benchmarks.measuring import machine
from benchmarks.workload import SPECIAL, vocabulary
from experiments.recipe.build import build
from experiments.recipe.compose import compose_recipe
from objectives import OBJECTIVES, Objective, replace, select
from objectives.base import Layout, Windows
from objectives.mlm import MLM
from objectives.replace_similar import similar

ROWS, WIDTH, VOCABULARY, GOAL = 64, 256, 8192, 1e6
SELECTIONS = (
    select.uniform,
    select.whole_word,
    select.ngrams,
    select.whole_word_spans,
    select.random_spans,
    select.geometric_spans,
    select.poisson_spans,
)
CHUNKS = (select.phrases, select.entities)  # never static
REPLACEMENTS = (replace.bert, replace.mask_only, replace.random_token, replace.keep, similar)
MIXTURES = {  # preset: a family that it trains
    "gpt_bert": "decoder_ar",
    "mixture": "prefix_lm",
    "ul2": "encoder_decoder",
    "ernie": "encoder_ae",
}


def full_rows(rng: torch.Generator) -> Windows:
    return Windows(torch.randint(SPECIAL, VOCABULARY, (ROWS, WIDTH), generator=rng))


def packed_rows(rng: torch.Generator) -> Windows:
    """Rows of documents of some 64 tokens, each with eos at its end."""
    tokens = full_rows(rng).tokens
    ends = torch.rand(tokens.shape, generator=rng) < 1 / 64
    return Windows(tokens.masked_fill(ends, 2), ends.cumsum(1) - ends.long())


def objectives() -> Iterator[tuple[str, str, Objective]]:
    """(name, layout or part, objective) of each objective in each layout, of mixtures and of MLM's parts."""
    known = vocabulary(VOCABULARY)
    for name, kind in OBJECTIVES.items():
        layouts: dict[Layout, None] = dict.fromkeys(FAMILIES[family].layout for family in kind.families)
        for layout in layouts:
            yield name, layout, kind(known, layout)
    for name, family in MIXTURES.items():
        layout = FAMILIES[family].layout
        recipe = compose_recipe([f"objective={name}", f"family={family}"])
        yield name, layout, build(recipe).objective(known, layout)
    for pick in CHUNKS:
        yield "mlm", pick.__name__, MLM(known, "in_place", select=pick)
    for pick in SELECTIONS:
        yield "mlm", pick.__name__, MLM(known, "in_place", select=pick)
        # As in BERT: what is hidden and what replaces it are both static.
        fixed = partial(select.static, of=pick)
        yield "mlm", f"{pick.__name__}, static", MLM(known, "in_place", fixed, replace.static)
    for write in REPLACEMENTS:
        yield "mlm", write.__name__, MLM(known, "in_place", replace=write)


def measure(objective: Objective, windows: Windows, repeats: int) -> torch.Tensor:
    """Tokens a second of each repeat (repeats)."""
    speeds = []
    for seed in range(-3, repeats):
        rng = torch.Generator().manual_seed(abs(seed))
        step = max(seed, 0)
        windows = with_changes(windows, step=step, fraction=(step + 0.5) / repeats)
        begun = time.perf_counter()
        objective.build(windows, rng)
        speeds.append(ROWS * WIDTH / (time.perf_counter() - begun))
    return torch.tensor(speeds[3:], dtype=torch.float64)


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    rows = {"full": full_rows(rng), "packed": packed_rows(rng)}
    table = Table(title=f"Objective.build, {ROWS} x {WIDTH}, M tokens/s, one core")
    for heading in ("objective", "layout or part", "rows", "median", "middle half", "goal"):
        justify = "right" if heading in ("median", "middle half") else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    missed = 0
    for name, part, objective in objectives():
        for shape, windows in rows.items():
            speeds = measure(objective, windows, repeats)
            low, median, high = (float(speeds.quantile(q)) for q in (0.25, 0.5, 0.75))
            reached = median >= GOAL
            missed += not reached
            spread = f"{low / 1e6:.2f}-{high / 1e6:.2f}"
            verdict = "reached" if reached else "missed"
            table.add_row(name, part, shape, f"{median / 1e6:.2f}", spread, verdict)
    console = Console()
    console.print(table)
    console.print(f"{machine()}, {repeats} repeats, goal {GOAL / 1e6:.0f} M tokens/s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
