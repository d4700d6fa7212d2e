"""Results kept per item, read back as tables a test can use: rows are seeds, columns items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archs.errors import UserError
from experiments.evidence.claims.endpoint import Measure
from experiments.storage.tables import read_table


@dataclass(frozen=True)
class Items:
    """What one run scored: keys (I) say which items, values (I) in the endpoint's unit."""

    keys: list[str]
    values: np.ndarray


def items(scores: Path, measures: Sequence[Measure]) -> Items | None:
    """The items of `scores/*.parquet`; None if a table is missing, empty, or in another unit.

    Of several measures each counts alike, whatever its number of items: the mean of all values is the mean of
    the measures' own.
    """
    found = [_of(scores, measure) for measure in measures]
    whole = [each for each in found if each is not None]
    if len(whole) < len(found):
        return None
    total = sum(len(each.keys) for each in whole)
    return Items(
        [key for each in whole for key in each.keys],
        np.concatenate([each.values * (total / (len(whole) * len(each.keys))) for each in whole]),
    )


def _of(scores: Path, measure: Measure) -> Items | None:
    path = scores / f"{measure.table}.parquet"
    if not path.exists():
        return None
    rows = read_table(path)
    if rows.empty or not measure.holds(rows):
        return None
    # Of a standard task the digest of its texts, too: the same numbers of other texts are other items.
    of = measure.table if measure.asked is None else f"{measure.table} {rows['digest'].iloc[0]}"
    keys = [f"{of} {item}" for item in rows["item"]]
    above = np.asarray(rows[measure.numerator], dtype=float)
    if measure.denominator is None:
        return Items(keys, measure.times * above)
    return Items(
        keys, measure.times * ratio_values(above, np.asarray(rows[measure.denominator], dtype=float))
    )


def ratio_values(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Jackknife pseudo-values (I) of sum(above) / sum(below): n x all - (n - 1) x all but one (Tukey 1958).

    What `stats.pseudo_values` gives of the ratio, in one stroke.
    """
    n = len(above)
    if n == 1:
        return above / below
    without = (above.sum() - above) / (below.sum() - below)
    return n * above.sum() / below.sum() - (n - 1) * without


@dataclass(frozen=True)
class Table:
    """values (S,I) of one arm, or of a contrast of arms; seeds (S) say which row is which."""

    seeds: list[int]
    values: np.ndarray


def table(found: Mapping[int, Items | None]) -> Table | None:
    """The seeds that have the items; None if there is none.

    Raises UserError if two runs were asked different items.
    """
    there = {seed: each for seed, each in sorted(found.items()) if each is not None}
    if not there:
        return None
    keys = {tuple(each.keys) for each in there.values()}
    if len(keys) > 1:
        raise UserError(_different())
    return Table(list(there), np.stack([each.values for each in there.values()]))


def contrast(
    weights: Mapping[str, float], arms: Mapping[str, Mapping[int, Items | None]], sign: int
) -> Table | None:
    """Sum of weight x arm, times sign, by the seeds that every arm has; None if there is none.

    Raises UserError if two arms were asked different items.
    """
    tables = {arm: table(arms[arm]) for arm in weights}
    keys = {tuple(each.keys) for arm in weights for each in arms[arm].values() if each is not None}
    if len(keys) > 1:
        raise UserError(_different())
    whole = [each for each in tables.values() if each is not None]
    if not whole or len(whole) < len(tables):
        return None
    seeds = sorted(set.intersection(*(set(each.seeds) for each in whole)))
    if not seeds:
        return None
    rows = [w * _rows(each, seeds) for w, each in zip(weights.values(), whole, strict=True)]
    return Table(seeds, sign * np.sum(rows, axis=0))


def _rows(of: Table, seeds: Iterable[int]) -> np.ndarray:
    return of.values[[of.seeds.index(seed) for seed in seeds]]


def _different() -> str:
    return (
        "runs of one sweep were scored on different items, so they cannot be paired; evaluate them again "
        "with one version and the same texts: pentarch evaluate RUN"
    )
