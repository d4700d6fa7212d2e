"""Infill: finetune on pairs of source and target, decode, compare with the reference."""

from __future__ import annotations

import pandas as pd
import torch
from sacrebleu.metrics.chrf import CHRF
from torch import Tensor

from archs.batch import Batch
from archs.decoding.decoding import Decoding
from archs.errors import UserError
from archs.families.family import Family
from experiments.data.seeds import mixed
from experiments.evaluation.builtin.classify import rows_of
from experiments.runs.run import Run
from experiments.tasks.builtin.infill import Infill
from experiments.training.finetuning import finetune
from objectives.base import Vocabulary
from objectives.conditional import Conditional

ROWS_AT_ONCE = 64


def fill(run: Run, train: Infill, test: Infill) -> pd.DataFrame:
    """One row for each gap: left, right, reference, prediction, chrf (0 to 100), first_word (1 if exact).

    Every family reads [left, <extra_id_0>, right] and writes as many tokens as the gap has, greedily, with
    its own decoder. Families that fill blanks see that number; the others write on and are cut there.
    """
    vocabulary = run.corpus.vocabulary
    asks = Conditional(vocabulary, run.family.layout)
    family = finetuned(run, asks, train)
    source, how = with_gap(test, vocabulary), Decoding(forbid=vocabulary.special)
    written: list[list[int]] = []
    for rows in torch.arange(len(source)).split(ROWS_AT_ONCE):
        lengths = test.lengths[rows]
        prompt = asks.prompt_pair(source[rows], lengths).to(run.device)
        tokens = family.generate(prompt, int(lengths.max()), how)
        written += [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    return compare(run, test, written)


def finetuned(run: Run, asks: Conditional, train: Infill) -> Family:
    """A copy of the run's family, finetuned to write gaps by the recipe's settings; in eval mode."""
    settings = run.recipe.evaluation.finetune
    source = with_gap(train, run.corpus.vocabulary)

    def build(step: int) -> Batch:
        chosen = rows_of(step, settings.batch, len(source), run.recipe.seed)
        rng = torch.Generator().manual_seed(mixed(run.recipe.seed, step, 2))
        return pairs(asks, source[chosen], train.gap[chosen], train.real[chosen], rng)

    return finetune(run, asks, build, settings.steps, settings.learning_rate).family


def pairs(asks: Conditional, source: Tensor, gap: Tensor, real: Tensor, rng: torch.Generator) -> Batch:
    """The batch that asks for gaps.

    source (B,S), gap (B,G), real (B,G) bool: cells of gap that are not padding.
    """
    return asks.pairs(source, torch.zeros_like(source), gap, real.long() - 1, rng)


def with_gap(examples: Infill, vocabulary: Vocabulary) -> Tensor:
    """[left, sentinel, right] (n,S), with the first sentinel, or the mask token if there are no sentinels."""
    gap = vocabulary.sentinels[0] if vocabulary.sentinels else vocabulary.mask
    if gap is None:
        raise UserError(
            "gaps need a sentinel (<extra_id_0>) or a mask token, which this tokenizer lacks; "
            "add one, or set evaluation.infill=false and evaluation.target=false"
        )
    middle = torch.full((len(examples.left), 1), gap)
    return torch.cat((examples.left, middle, examples.right), dim=1)


def compare(run: Run, test: Infill, written: list[list[int]]) -> pd.DataFrame:
    """Each prediction beside its reference, with chrF (Popović 2015, sacrebleu's defaults)."""
    chrf = CHRF()
    decode = run.corpus.tokenizer.decode
    rows = []
    for item, (gap, ids) in enumerate(zip(test.gaps(), written, strict=True)):
        reference, prediction = decode(gap).strip(), decode(ids).strip()
        rows.append(
            {
                "item": item,
                "left": decode(test.left[item].tolist()),
                "right": decode(test.right[item].tolist()),
                "reference": reference,
                "prediction": prediction,
                "chrf": chrf.sentence_score(prediction, [reference]).score,
                "first_word": int(prediction.split()[:1] == reference.split()[:1]),
            }
        )
    return pd.DataFrame(rows)
