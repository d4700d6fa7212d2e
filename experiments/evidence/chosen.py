"""Which of a task's outcomes stands for the run, and what it says of each item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def chosen(outcomes: Iterable[dict[str, Any]], model: str | None = None) -> dict[str, Any] | None:
    """The main one of a result file's outcomes: of most training examples, of equal ones the first.

    Of several poolings validation put the best first. Baselines are none of the run's; model: of that one
    alone. None if there is no such outcome.
    """
    there = [
        one
        for one in outcomes
        if not one["baseline"] and (model is None or one["variant"].get("model") == model)
    ]
    return max(there, key=lambda one: int(one["variant"].get("examples", 0)), default=None)


def of_variant(rows: pd.DataFrame, variant: dict[str, str | int]) -> pd.DataFrame:
    """The rows of one outcome, of a table of all."""
    return rows.loc[np.all([rows[name] == value for name, value in variant.items()], axis=0)]


def by_item(rows: pd.DataFrame) -> pd.Series:
    """Each item's share of the primary metric, mean over finetuning seeds, in the order of the items.

    Of minimal pairs the items are their paradigms, over which their metric is a mean. No number where one of
    an item's is none: a seed never drops out of a mean.
    """
    grouped = rows.groupby("paradigm" if "paradigm" in rows else "item")["value"]
    values: pd.Series = grouped.mean().where(grouped.count() == grouped.size())  # type: ignore[assignment]
    return values.rename_axis("item")
