"""Speed of scoring minimal pairs, both sentences of each, by every family with about 5 M parameters.

    python -m benchmarks.minimal_pairs --path test.parquet [--pairs N | --all] [FAMILY …]

The file has the columns good and bad, as BLiMP's 67,000 pairs (Warstadt et al. 2020). Weights are random, and
the vocabulary of 8,192 is trained on the file itself, so only the times mean something. A seeded subset is
timed and extrapolated to the whole file. An encoder-AE is timed with both pseudo-likelihoods. Goal: a
decoder-AR scores all pairs in 15 minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from archs import FAMILIES, CoreConfig, Family
from benchmarks.measuring import machine
from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.data.tokenizer.training import train
from experiments.data.tokenizer.vocabulary import vocabulary
from experiments.evaluation.scoring.checks import Pll
from experiments.evaluation.scoring.scoring import score_texts
from objectives import OBJECTIVES

VOCABULARY, GOAL = 8192, 15
# family: objective, layers (of the encoder), layers of the decoder
FAMILY = {
    "decoder_ar": ("causal", 4, None),
    "prefix_lm": ("prefix", 4, None),
    "permuted_lm": ("permutation", 4, None),
    "encoder_decoder": ("span", 2, 2),
    "encoder_ae": ("mlm", 4, None),
}
PLLS: dict[str, tuple[Pll | None, ...]] = {"encoder_ae": ("original", "word_l2r")}


def built(name: str) -> Family:
    """Four layers of width 256, in one stack or two."""
    _, layers, decoder_layers = FAMILY[name]
    torch.manual_seed(0)
    shape = CoreConfig(
        vocabulary=VOCABULARY,
        width=256,
        heads=4,
        ffn=1024,
        max_length=128,
        layers=layers,
        decoder_layers=decoder_layers,
    )
    return FAMILIES[name](shape).eval()


def seconds(family: Family, name: str, tokenizer: Tokenizer, texts: list[str], pll: Pll | None) -> float:
    objective = OBJECTIVES[FAMILY[name][0]](vocabulary(tokenizer), family.layout)
    model = (family, objective, tokenizer)
    score_texts(model, texts[:64], pll)  # the first pass is slower
    started = time.perf_counter()
    score_texts(model, texts, pll)
    return time.perf_counter() - started


def rows(names: list[str], pairs: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    tokenizer = train([*pairs.good, *pairs.bad], VOCABULARY)
    texts = [*chosen.good, *chosen.bad]
    tokens = sum(map(len, tokenizer.encode_batch(texts)))
    for name in names:
        family = built(name)
        parameters = sum(each.numel() for each in family.parameters())
        for pll in PLLS.get(name, (None,)):
            taken = seconds(family, name, tokenizer, texts, pll)
            yield (
                name,
                pll or "",
                f"{parameters / 1e6:.1f} M",
                f"{len(chosen) / taken:,.0f}",
                f"{tokens / taken:,.0f}",
                f"{taken / len(chosen) * len(pairs) / 60:.1f}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("families", nargs="*", default=[], metavar="FAMILY")
    options = parser.parse_args()
    pairs = pd.read_parquet(options.path, columns=["good", "bad"])
    chosen = pairs if options.all else pairs.sample(min(options.pairs, len(pairs)), random_state=0)
    table = Table(title=f"{len(chosen):,} of {len(pairs):,} minimal pairs, untrained, float32")
    for name in ("family", "pll", "parameters", "pairs/s", "tokens/s", f"minutes for {len(pairs):,}"):
        table.add_column(name, justify="right")
    for row in rows(options.families or list(FAMILY), pairs, chosen):
        table.add_row(*row)
        print(*row, file=sys.stderr)
    console = Console(width=110)
    console.print(table)
    console.print(f"{machine()}. Goal: {GOAL} minutes by decoder_ar on two cores.")


if __name__ == "__main__":
    main()
