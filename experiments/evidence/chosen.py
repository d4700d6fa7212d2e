"""Chooses the outcome of a task that stands for the run, and reads its value for each item."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def chosen(outcomes: Iterable[dict[str, Any]], model: str | None = None) -> dict[str, Any] | None:
    """Returns the outcome with the most training examples, the first of equals; None if there is none.

    Of several poolings the first is the best on validation. Baselines are left out, as are outcomes of other
    models than `model` if that is given.
    """
    candidates = [
        outcome
        for outcome in outcomes
        if not outcome["baseline"] and (model is None or outcome["variant"].get("model") == model)
    ]
    return max(candidates, key=lambda outcome: int(outcome["variant"].get("examples", 0)), default=None)


def of_variant(rows: pd.DataFrame, variant: dict[str, str | int]) -> pd.DataFrame:
    """Returns the rows of one outcome from the table of all."""
    return rows.loc[np.all([rows[name] == value for name, value in variant.items()], axis=0)]


def by_item(rows: pd.DataFrame) -> pd.Series:
    """Returns each item's share of the primary metric, mean over finetuning seeds, in the order of the items.

    For minimal pairs an item is a paradigm, because their metric is a mean over paradigms. The value is NaN
    if any seed's is, so that no seed is dropped from a mean.
    """
    grouped = rows.groupby("paradigm" if "paradigm" in rows else "item")["value"]
    values: pd.Series = grouped.mean().where(grouped.count() == grouped.size())  # type: ignore[assignment]
    return values.rename_axis("item")
