"""Minimal pairs: a good and a bad sentence that differ in one thing (BLiMP, Warstadt et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kind import Example, Kind, text_of

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("paradigm", "phenomenon", "field")


def example(row: Example, task: TaskConfig) -> Example:
    return {role: text_of(row, role) for role in ("good", "bad", *GROUPS) if role in row}


def judged(items: list[Example], texts: list[tuple[float, str]]) -> pd.DataFrame:
    """Returns one row a pair: item, its groups, nats_good, nats_bad, unit, correct (1, 0, or 0.5 for a tie).

    texts: nats and unit of the good and the bad sentences in turn.
    """
    import pandas as pd  # slow to import, and plans do not need it

    rows = pd.DataFrame({"item": range(len(items))})
    for group in GROUPS:
        if group in items[0]:
            rows[group] = [item[group] for item in items]
    rows["nats_good"], rows["nats_bad"] = [nats for nats, _ in texts[::2]], [nats for nats, _ in texts[1::2]]
    rows["unit"] = [unit for _, unit in texts[::2]]
    rows["correct"] = (rows.nats_good < rows.nats_bad) + 0.5 * (rows.nats_good == rows.nats_bad)
    # Some pairs of BLiMP hold one sentence twice. Its nats may differ in the last digit between batches.
    rows.loc[[item["good"] == item["bad"] for item in items], "correct"] = 0.5
    return rows


def text(example: Example) -> str:
    return f"{example['good']}\n{example['bad']}"


def chance(train: Sequence[Example], test: Sequence[Example]) -> dict[str, pd.DataFrame]:
    """Returns the baseline that ties on every pair."""
    rows = judged(list(test), [(0.0, "none")] * (2 * len(test)))
    return {"chance": rows.drop(columns=["nats_good", "nats_bad", "unit"])}


MINIMAL_PAIRS = Kind(
    name="minimal_pairs",
    required=("good", "bad"),
    optional=GROUPS,
    metrics=("pair_accuracy",),
    modes=("zero_shot",),
    example=example,
    text=text,
    truncation="nothing is cut: sentences are scored whole",
    baselines=chance,
)
