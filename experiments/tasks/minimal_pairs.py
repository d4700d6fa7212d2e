"""Minimal pairs: is the good sentence likelier than the bad one? (BLiMP, Warstadt et al. 2020)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from experiments.tasks.kind import Answer, Example, Kind, Question, text_of
from experiments.tasks.metrics import METRICS, measured_within_groups
from experiments.tasks.task import TaskConfig
from experiments.tasks.zero_shot import encoded, outcome, scored

GROUPS = ("paradigm", "phenomenon", "field")


def example(row: Example, task: TaskConfig) -> Example:
    return {role: text_of(row, role) for role in ("good", "bad", *GROUPS) if role in row}


def zero_shot(question: Question) -> Answer:
    """Nats of whole sentences, by the chain rule or as a pseudo-likelihood: the column unit says which."""
    found = []
    for part, items in question.data.asked.items():
        texts = [("", item[role]) for item in items for role in ("good", "bad")]
        nats = [(sum(one.nats), one.unit) for one in scored(question, encoded(question, texts))]
        rows = judged(items, nats)
        found.append(outcome(part, rows))
    return Answer(found, more={"by_group": by_group(found[0].rows), "subset": of_subset(found[0].rows)})


def judged(items: list[Example], texts: list[tuple[float, str]]) -> pd.DataFrame:
    """One row a pair: item, its groups, nats_good, nats_bad, unit, correct: 1, 0, or 0.5 if both are equal.

    texts: nats and unit of good and bad in turn.
    """
    rows = pd.DataFrame({"item": range(len(items))})
    for group in GROUPS:
        if group in items[0]:
            rows[group] = [item[group] for item in items]
    rows["nats_good"], rows["nats_bad"] = [nats for nats, _ in texts[::2]], [nats for nats, _ in texts[1::2]]
    rows["unit"] = [unit for _, unit in texts[::2]]
    rows["correct"] = (rows.nats_good < rows.nats_bad) + 0.5 * (rows.nats_good == rows.nats_bad)
    # BLiMP has pairs of one sentence twice, whose nats may differ in the last digit if batches do.
    rows.loc[[item["good"] == item["bad"] for item in items], "correct"] = 0.5
    return rows


def by_group(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """% right of each paradigm, and of each phenomenon and field, which is the mean over its paradigms."""
    found = {}
    for group in GROUPS:
        if group in rows:
            within = rows.groupby(list(dict.fromkeys([group, *_paradigm(rows)]))).correct.mean()
            found[group] = (100 * within.groupby(level=0).mean()).to_dict()
    return found


def of_subset(rows: pd.DataFrame) -> dict[str, Any]:
    """The main number with the interval of having drawn these items of each paradigm, the paradigms given."""
    return asdict(measured_within_groups(METRICS["pair_accuracy"], rows))


def _paradigm(rows: pd.DataFrame) -> list[str]:
    return ["paradigm"] if "paradigm" in rows else []


def text(example: Example) -> str:
    return f"{example['good']}\n{example['bad']}"


def chance(train: Sequence[Example], test: Sequence[Example]) -> dict[str, pd.DataFrame]:
    """A tie on every pair."""
    rows = judged(list(test), [(0.0, "none")] * (2 * len(test)))
    return {"chance": rows.drop(columns=["nats_good", "nats_bad", "unit"])}


MINIMAL_PAIRS = Kind(
    name="minimal_pairs",
    required=("good", "bad"),
    optional=GROUPS,
    metrics=("pair_accuracy",),
    modes={"zero_shot": zero_shot},
    example=example,
    text=text,
    policy="nothing is cut: sentences are scored whole",
    baselines=chance,
)
