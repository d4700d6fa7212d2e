"""Bits per byte on held-out text: the second half of a window given the first, whatever the family.

Protocol's shared instrument. Exact families give the chain rule's NLL; encoder-AE gives a pseudo-NLL, each
token given all others, on fewer windows since every token costs a pass. The two are never compared.
"""

from __future__ import annotations

import pandas as pd
import torch

from experiments import scoring
from experiments.data.gates import trigram
from experiments.data.windows import held_out
from experiments.run import Run

ROWS_AT_ONCE = 16


@torch.no_grad()
def likelihood(run: Run) -> pd.DataFrame:
    """One row a window of the test split: nats of its second half given its first, tokens, bytes, unit.

    trigram_nats: what the trigram anchor gives the same tokens.
    """
    settings, length = run.recipe.evaluation, run.recipe.size.length
    windows = held_out(run.corpus.test, settings.likelihood_windows, length)
    items = torch.arange(len(windows.tokens))
    if run.family.unit == "pll":  # fewer windows, spread over the same text
        fewer = min(settings.pseudo_likelihood_windows, len(items))
        items = torch.linspace(0, len(items) - 1, fewer).round().long()
    tokens, half = windows.tokens[items], length // 2
    nats: list[float] = []
    for rows in tokens.split(ROWS_AT_ONCE):
        score = run.family.score(run.objective.ask(rows[:, :half], rows[:, half:]).to(run.device))
        nats += (-score.nats.sum(dim=1)).tolist()
    asked = tokens[:, half:].numpy()
    anchor = trigram(run.corpus).nats(tokens[:, :half].numpy(), asked)
    return pd.DataFrame(
        {
            "item": items.tolist(),
            "document": windows.documents[items],
            "nats": nats,
            "tokens": asked.shape[1],
            "bytes": run.corpus.byte_lengths("test")[asked].sum(axis=1),
            "unit": run.family.unit,
            "trigram_nats": anchor.sum(axis=1),
        }
    )


def bits_per_byte(nats: pd.Series, count: pd.Series) -> float:
    """Summed nats over summed bytes, in bits."""
    return scoring.bits_per_byte(float(nats.sum()), float(count.sum()))
