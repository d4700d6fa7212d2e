"""Reads scores of items as tables for tests: rows are seeds, columns items."""

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
    """The scores of one run. keys (I): the items; values (I): in the endpoint's unit."""

    keys: list[str]
    values: np.ndarray


def items(scores: Path, measures: Sequence[Measure]) -> Items | None:
    """Returns the items of the measures' tables; None if a table is missing, empty, or in another unit.

    Several measures weigh alike, whatever their numbers of items: the mean of all values is the mean of the
    measures' means.
    """
    parts = [_of(scores, measure) for measure in measures]
    present = [part for part in parts if part is not None]
    if len(present) < len(parts):
        return None
    total = sum(len(part.keys) for part in present)
    return Items(
        [key for part in present for key in part.keys],
        np.concatenate([part.values * (total / (len(present) * len(part.keys))) for part in present]),
    )


def _of(scores: Path, measure: Measure) -> Items | None:
    path = scores / f"{measure.table}.parquet"
    if not path.exists():
        return None
    rows = read_table(path)
    if rows.empty or not measure.holds(rows):
        return None
    # A standard task's key holds the digest of its texts: the same number in other texts is another item.
    of = measure.table if measure.asked is None else f"{measure.table} {rows['digest'].iloc[0]}"
    keys = [f"{of} {item}" for item in rows["item"]]
    above = np.asarray(rows[measure.numerator], dtype=float)
    if measure.denominator is None:
        return Items(keys, measure.times * above)
    return Items(
        keys, measure.times * ratio_values(above, np.asarray(rows[measure.denominator], dtype=float))
    )


def ratio_values(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns the jackknife pseudo-values (I) of sum(above) / sum(below) (Tukey 1958).

    They are n x the ratio of all - (n - 1) x the ratio of all but one, as of `stats.pseudo_values`, at once.
    """
    n = len(above)
    if n == 1:
        return above / below
    without = (above.sum() - above) / (below.sum() - below)
    return n * above.sum() / below.sum() - (n - 1) * without


@dataclass(frozen=True)
class Table:
    """The values (S,I) of one arm, or of a contrast of arms. seeds (S): the seed of each row."""

    seeds: list[int]
    values: np.ndarray


def table(scored: Mapping[int, Items | None]) -> Table | None:
    """Returns the table of the seeds that have items, None if none has.

    Raises UserError if two runs were asked different items.
    """
    present = {seed: of_seed for seed, of_seed in sorted(scored.items()) if of_seed is not None}
    if not present:
        return None
    keys = {tuple(of_seed.keys) for of_seed in present.values()}
    if len(keys) > 1:
        raise _different_items()
    return Table(list(present), np.stack([of_seed.values for of_seed in present.values()]))


def contrast(
    weights: Mapping[str, float], arms: Mapping[str, Mapping[int, Items | None]], sign: int
) -> Table | None:
    """Returns sign x the sum of weight x arm, for the seeds that every arm has; None if there is none.

    Raises UserError if two arms were asked different items.
    """
    tables = {arm: table(arms[arm]) for arm in weights}
    keys = {tuple(scored.keys) for arm in weights for scored in arms[arm].values() if scored is not None}
    if len(keys) > 1:
        raise _different_items()
    present = [of_arm for of_arm in tables.values() if of_arm is not None]
    if not present or len(present) < len(tables):
        return None
    seeds = sorted(set.intersection(*(set(of_arm.seeds) for of_arm in present)))
    if not seeds:
        return None
    rows = [weight * _rows(of_arm, seeds) for weight, of_arm in zip(weights.values(), present, strict=True)]
    return Table(seeds, sign * np.sum(rows, axis=0))


def _rows(of: Table, seeds: Iterable[int]) -> np.ndarray:
    return of.values[[of.seeds.index(seed) for seed in seeds]]


def _different_items() -> UserError:
    return UserError(
        "runs of one sweep were scored on different items, so they cannot be paired; evaluate them again "
        "with one version and the same texts: pentarch evaluate RUN"
    )
