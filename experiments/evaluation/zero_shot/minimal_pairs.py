"""Minimal pairs: is the good sentence likelier than the bad one? (BLiMP, Warstadt et al. 2020)"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from experiments.evaluation.question import Answer, Question
from experiments.evaluation.zero_shot.scores import encoded, outcome, scored
from experiments.evidence.metrics import METRICS, measured_within_groups
from experiments.tasks.kinds.minimal_pairs import GROUPS, judged


def zero_shot(question: Question) -> Answer:
    """Compares nats of whole sentences, by the chain rule or as a pseudo-likelihood (see the column unit)."""
    outcomes = []
    for part, items in question.data.asked.items():
        texts = [("", item[role]) for item in items for role in ("good", "bad")]
        nats = [(sum(scores.nats), scores.unit) for scores in scored(question, encoded(question, texts))]
        rows = judged(items, nats)
        outcomes.append(outcome(part, rows))
    return Answer(
        outcomes, more={"by_group": by_group(outcomes[0].rows), "subset": of_subset(outcomes[0].rows)}
    )


def by_group(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """% right of each paradigm, and of each phenomenon and field as the mean over its paradigms."""
    percentages = {}
    for group in GROUPS:
        if group in rows:
            within = rows.groupby(list(dict.fromkeys([group, *_paradigm(rows)]))).correct.mean()
            percentages[group] = (100 * within.groupby(level=0).mean()).to_dict()
    return percentages


def of_subset(rows: pd.DataFrame) -> dict[str, Any]:
    """The main number with its interval over the items of each paradigm, the paradigms being fixed."""
    return asdict(measured_within_groups(METRICS["pair_accuracy"], rows))


def _paradigm(rows: pd.DataFrame) -> list[str]:
    return ["paradigm"] if "paradigm" in rows else []
