"""Sentence order: are two pieces of text in their original order, or swapped?

The objective `sop` makes the pieces of a window, so the task asks what that objective teaches. A linear
classifier reads the answer off the frozen states of the pretrained family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from archs.errors import UserError
from experiments.data.seeds import mixed
from experiments.data.split import SPLITS, Split
from experiments.data.store import Corpus
from experiments.data.windows import held_out
from experiments.evaluation.builtin.probe import POOLINGS, embedded, fit, pooled
from experiments.runs.run import Run
from objectives.base import Vocabulary, Windows
from objectives.sop import SOP

TEST, VALIDATION = 1000, 500  # windows at most


@dataclass(frozen=True, eq=False)
class Pairs:
    """[cls] A [sep] B [sep] of n windows: tokens, token_types (n,W+3); labels, documents (n), all int64.

    Label 0: A and B are neighbours; 1: they are swapped.
    """

    tokens: Tensor
    token_types: Tensor
    labels: np.ndarray
    documents: np.ndarray


def pairs(corpus: Corpus, name: Split, n: int, width: int) -> Pairs:
    """At most n windows of `width` tokens of a split, cut and perhaps swapped as by `sop`, nothing hidden.

    Pure in (corpus, name, n, width), so all runs and seeds have the same pairs. Raises UserError if the
    tokenizer lacks a token that the objective needs.
    """
    asks = objective(corpus.vocabulary)
    windows = held_out(corpus.splits[name], n, width)
    rng = torch.Generator().manual_seed(mixed(SPLITS.index(name)))  # training mixes three numbers
    arranged, types, labels = asks.pairs(Windows(windows.tokens), rng)
    return Pairs(arranged.tokens, types, labels.numpy(), windows.documents)


def objective(vocabulary: Vocabulary) -> SOP:
    """The objective that arranges the pairs.

    Raises UserError if the tokenizer lacks a token that it needs.
    """
    missing = [name for name in SOP.needs if getattr(vocabulary, name) is None]
    if missing:
        raise UserError(
            "the order task arranges text as objective 'sop' does and needs the special tokens "
            f"{', '.join(missing)}, which this tokenizer lacks; add them, or set evaluation.order=false"
        )
    return SOP(vocabulary, "in_place")


def probe(run: Run) -> tuple[pd.DataFrame, dict[str, float]]:
    """One row for each test pair: item, document, label; each pooling's prediction and whether it is right.

    The second value has, by name, the C chosen for each pooling and the accuracy of two baselines that cannot
    know the order: the majority of the training labels, and the mean of the text's static input embeddings.
    Raises UserError as `pairs` does, and if all training pairs have one label.
    """
    wanted, width = run.recipe.evaluation.finetune.examples, run.recipe.size.length
    train = pairs(run.corpus, "train", wanted, width)
    held = pairs(run.corpus, "validation", VALIDATION, width)
    test = pairs(run.corpus, "test", TEST, width)
    if len(set(train.labels.tolist())) < 2:
        raise UserError(
            f"the order task has {len(train.labels)} training pairs, all of one label; give more text, raise "
            "evaluation.finetune.examples, or set evaluation.order=false"
        )
    learned, chosen, tested = (_features(run, part) for part in (train, held, test))
    probes = {
        name: fit(learned[name], chosen[name], tested[name], train.labels, held.labels) for name in tested
    }
    columns = {"item": range(len(test.labels)), "document": test.documents, "label": test.labels}
    for name in POOLINGS:
        columns[f"predicted_{name}"] = probes[name].predicted
        columns[f"correct_{name}"] = (probes[name].predicted == test.labels).astype(int)
    baselines = {f"strength_{name}": probes[name].strength for name in POOLINGS}
    baselines["majority"] = float((np.bincount(train.labels).argmax() == test.labels).mean())
    baselines["input_embeddings"] = float((probes["input_embeddings"].predicted == test.labels).mean())
    return pd.DataFrame(columns), baselines


def _features(run: Run, part: Pairs) -> dict[str, np.ndarray]:
    states = pooled(run.family, run.corpus.vocabulary, part.tokens, part.token_types)
    return {**states, "input_embeddings": embedded(run.family, run.corpus.vocabulary, part.tokens)}
