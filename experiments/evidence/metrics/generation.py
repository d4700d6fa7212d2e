"""Metrics of generation: prediction is a string, references are one or more strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from archs.errors import UserError
from experiments.evidence.metrics.metric import Metric, Weighted, listed, mean, summed

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("prediction", "references")


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    for prediction, references in zip(rows["prediction"], rows["references"], strict=True):
        allowed = listed(references)
        if not allowed:
            raise UserError("a text to generate has no reference; give each item at least one")
        yield prediction, allowed


def _exact_text(rows: pd.DataFrame) -> Weighted:
    hits = [text.strip() in {reference.strip() for reference in allowed} for text, allowed in _pairs(rows)]
    return mean(hits, times=100)


def _bleu(rows: pd.DataFrame) -> Weighted:
    """sacrebleu's `corpus_bleu`, from each item's two lengths, and hits and totals of four orders."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)  # no warning about single sentences; their counts are the same
    scores = [bleu.sentence_score(text, allowed) for text, allowed in _pairs(rows)]
    statistics = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]

    def score(totals: np.ndarray) -> np.ndarray:
        whole = [[round(count) for count in row] for row in totals]
        return np.array(
            [BLEU.compute_bleu(row[2:6], row[6:], *row[:2], smooth_method="exp").score for row in whole]
        )

    return summed(np.array(statistics, dtype=float), score)


def _chrf(rows: pd.DataFrame) -> Weighted:
    """sacrebleu's `corpus_chrf`, from each item's three counts of six orders against its best reference.

    No public function of sacrebleu returns the counts. Its own bootstrap uses the same private ones.
    """
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()
    statistics = [
        chrf._extract_corpus_statistics([text], [[reference] for reference in allowed])[0]
        for text, allowed in _pairs(rows)
    ]
    return summed(
        np.array(statistics, dtype=float),
        lambda totals: np.array([chrf._compute_f_score(row) for row in totals.tolist()]),
    )


def _rouge(name: str) -> Callable[[pd.DataFrame], Weighted]:
    def prepare(rows: pd.DataFrame) -> Weighted:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([name], use_stemmer=False)
        pairs = list(_pairs(rows))
        if not any(re.search("[A-Za-z0-9]", text) for _, allowed in pairs for text in allowed):
            raise UserError(
                f"metric '{name}' reads only letters a to z and digits, references have none; use chrf"
            )
        return mean((scorer.score_multi(allowed, text)[name].fmeasure for text, allowed in pairs), times=100)

    return prepare


def _metric(name: str, title: str, prepare: Callable[[pd.DataFrame], Weighted]) -> Metric:
    return Metric(name, title, "0 to 100", "higher", 1, COLUMNS, prepare)


GENERATION = (
    Metric("exact_text", "Exact text", "% exact", "higher", 1, COLUMNS, _exact_text),
    _metric("bleu", "BLEU", _bleu),
    _metric("chrf", "chrF", _chrf),
    _metric("rouge1", "ROUGE-1", _rouge("rouge1")),
    _metric("rouge2", "ROUGE-2", _rouge("rouge2")),
    _metric("rougeL", "ROUGE-L", _rouge("rougeL")),
)
