"""Bits per byte on held-out text: the second half of a window given the first, for every family.

The shared instrument of the protocol. Exact families give the NLL of the chain rule. An encoder-AE gives a
pseudo-NLL, each token given all others, on fewer windows, since every token costs a pass. The two are never
compared.
"""

from __future__ import annotations

import pandas as pd
import torch

from experiments.data.gates import trigram
from experiments.data.split import Split
from experiments.data.store import Corpus
from experiments.data.windows import HeldOut, held_out
from experiments.evaluation.scoring import scoring
from experiments.recipe.recipe import Recipe
from experiments.runs.run import Run

ROWS_AT_ONCE = 16


def likelihood(run: Run) -> pd.DataFrame:
    """One row for each window of the test split, as `second_halves`.

    The further column trigram_nats has the nats of the trigram anchor on the same tokens.
    """
    rows = second_halves(run, run.corpus, "test", run.recipe)
    tokens = windows_of(run.corpus, "test", run.recipe).tokens[rows["item"].tolist()].numpy()
    half = tokens.shape[1] // 2
    rows["trigram_nats"] = trigram(run.corpus).nats(tokens[:, :half], tokens[:, half:]).sum(axis=1)
    return rows


@torch.no_grad()
def second_halves(run: Run, corpus: Corpus, split: Split, windows: Recipe) -> pd.DataFrame:
    """Scores the second half of each window given its first half.

    One row for each window: item, document, nats, tokens, bytes, unit. corpus: any text in the run's tokens.
    windows: the recipe that sets the length and number of windows.
    """
    held = windows_of(corpus, split, windows)
    items = torch.arange(len(held.tokens))
    if run.family.unit == "pll":  # fewer windows, spread over the same text
        fewer = min(windows.evaluation.pseudo_likelihood_windows, len(items))
        items = torch.linspace(0, len(items) - 1, fewer).round().long()
    tokens, half = held.tokens[items], windows.size.length // 2
    nats: list[float] = []
    for rows in tokens.split(ROWS_AT_ONCE):
        score = run.family.score(run.objective.ask(rows[:, :half], rows[:, half:]).to(run.device))
        nats += (-score.nats.sum(dim=1)).tolist()
    targets = tokens[:, half:].numpy()
    return pd.DataFrame(
        {
            "item": items.tolist(),
            "document": held.documents[items],
            "nats": nats,
            "tokens": targets.shape[1],
            "bytes": corpus.byte_lengths(split)[targets].sum(axis=1),
            "unit": run.family.unit,
        }
    )


def windows_of(corpus: Corpus, split: Split, recipe: Recipe) -> HeldOut:
    """The windows of a split, in the length and number of the recipe's likelihood."""
    return held_out(corpus.splits[split], recipe.evaluation.likelihood_windows, recipe.size.length)


def bits_per_byte(nats: pd.Series, count: pd.Series) -> float:
    """Summed nats over summed bytes, in bits."""
    return scoring.bits_per_byte(float(nats.sum()), float(count.sum()))
