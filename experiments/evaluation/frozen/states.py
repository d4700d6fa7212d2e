"""The states of a family's layers on a text, from one pass, pooled, in float32. Nothing is trained.

Axes: n items, P texts an item (2 if a pair is read apart), L layers, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from archs.batch import Batch
from archs.families.family import Family
from experiments.evaluation.encoding import Encoded
from experiments.evaluation.words import Words
from experiments.runs.run import Run
from objectives.layouts import parts_marked, read
from objectives.pooled import Pooled, Pooling, pool

ROWS_AT_ONCE = 64
Layer = tuple[str, Tensor, Batch, bool]  # name, rows (B,T,D), the batch they read, whether in both directions


def layers_of(family: Family, batch: Batch) -> list[Layer]:
    """Every layer of one pass, from the input of the first block to the output of the last.

    The last layer of a stack is normed, as heads read it. An encoder's layers come before its decoder's.
    """
    hidden, both, embedded = family.hidden(batch), family.both_ways, family.first(batch)
    own = [*hidden.layers[:-1], hidden.rows]
    if hidden.source is None or batch.source is None:
        return [("embeddings", embedded, batch, both), *_numbered("layer", own, batch, both)]
    source = replace(batch, tokens=batch.source, segments=batch.source_segments)
    encoder = _numbered("encoder", [*hidden.source_layers[:-1], hidden.source], source, True)
    return [("embeddings", embedded, source, True), *encoder, *_numbered("decoder", own, batch, both)]


def _numbered(name: str, layers: Sequence[Tensor], batch: Batch, both_ways: bool) -> list[Layer]:
    return [(f"{name} {number}", rows, batch, both_ways) for number, rows in enumerate(layers, start=1)]


@torch.no_grad()
def states(
    run: Run, texts: Encoded, items: Sequence[int] | np.ndarray, poolings: Sequence[Pooling], last: bool
) -> tuple[list[str], dict[str, Tensor]]:
    """The names of the layers, and the items' states by pooling (n x P, L, D); with `last` L is 1.

    Items are read in order of length, in eval mode, and returned in the order of `items`.
    """
    family, words = run.family, run.corpus.vocabulary
    asks = {name: Pooled(words, family.layout, None, name, texts.parts) for name in poolings}
    was_training, items, names = family.training, np.asarray(items), []
    by_pooling: dict[str, list[Tensor]] = {name: [] for name in poolings}
    order = np.argsort(texts.lengths[items], kind="stable")
    family.eval()
    for places in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        tokens, segments = texts.batch(items[places], words.pad)
        batch = asks[poolings[0]].read(tokens, segments, torch.zeros(len(places))).to(run.device)
        layers = layers_of(family, parts_marked(batch, family, words))[-1 if last else 0 :]
        names = [name for name, *_ in layers]
        for name, pooled in asks.items():
            each = [pool(rows, here, pooled, both).float().cpu() for _, rows, here, both in layers]
            by_pooling[name].append(torch.stack(each, dim=1))
    family.train(was_training)
    back = torch.from_numpy(np.argsort(order, kind="stable"))
    rows = (back[:, None] * texts.parts + torch.arange(texts.parts)).flatten()
    return names, {name: torch.cat(each)[rows] for name, each in by_pooling.items()}


@torch.no_grad()
def word_states(
    run: Run, texts: Words, items: Sequence[int] | np.ndarray, last: bool
) -> tuple[list[str], Tensor]:
    """As `states`, at the row of each word that is read: (words of all the items, L, D)."""
    family, words = run.family, run.corpus.vocabulary
    was_training, items, names = family.training, np.asarray(items), []
    by_item: list[Tensor] = [torch.empty(0)] * len(items)
    order = np.argsort(texts.lengths[items], kind="stable")
    family.eval()
    for places in np.array_split(order, -(-len(order) // ROWS_AT_ONCE)):
        tokens, segments, read_at = texts.batch(items[places], words.pad)
        batch = read(family.layout, tokens, segments, words).to(run.device)
        layers = layers_of(family, parts_marked(batch, family, words))[-1 if last else 0 :]
        names = [name for name, *_ in layers]
        every = torch.stack([rows for _, rows, *_ in layers], dim=2)
        for place, row, each in zip(places, read_at, every, strict=True):
            by_item[place] = each[row[row >= 0].to(run.device)].float().cpu()
    family.train(was_training)
    return names, torch.cat(by_item)
