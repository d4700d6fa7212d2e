"""Metrics of tagging: tags and predicted_tags are lists of BIO tags, one a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from archs.errors import UserError
from experiments.evidence.metrics.classes import f1_of
from experiments.evidence.metrics.metric import Metric, Weighted, listed, summed

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("tags", "predicted_tags")


def entities(tags: list[str]) -> set[tuple[str, int, int]]:
    """Returns (type, first token, one past the last) of a sentence's entities, as conlleval reads them.

    An I- without an entity of its type before it begins one (Tjong Kim Sang and De Meulder 2003).

    >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC", "I-ORG", "B-ORG"]))
    [('LOC', 3, 4), ('ORG', 4, 5), ('ORG', 5, 6), ('PER', 0, 2)]
    """
    spans: set[tuple[str, int, int]] = set()
    start, inside = 0, ""  # the open entity's first token and its type
    for place, tag in enumerate([*tags, "O"]):
        mark, kind = _parts(tag)
        if mark == "I" and kind == inside:
            continue
        if inside:
            spans.add((inside, start, place))
        start, inside = place, kind
    return spans


def _parts(tag: str) -> tuple[str, str]:
    mark, _, kind = tag.partition("-")
    if tag == "O" or (mark in ("B", "I") and kind):
        return mark, kind
    raise UserError(f"entity tag '{tag}'; BIO tags are O, B-TYPE and I-TYPE: rewrite the data's tags so")


def _entity_f1(rows: pd.DataFrame) -> Weighted:
    """F1 over all entities of all sentences. An entity is right if its type and both its ends are."""
    return summed(
        np.array(
            [_counts(*map(listed, pair)) for pair in zip(*(rows[name] for name in COLUMNS), strict=True)]
        ),
        lambda totals: 100 * f1_of(*totals.T),
    )


def _counts(tags: list[str], predicted: list[str]) -> tuple[float, float, float]:
    if len(tags) != len(predicted):
        raise ValueError(f"a sentence of {len(tags)} tags has {len(predicted)} predicted ones")
    wanted, given = entities(tags), entities(predicted)
    return float(len(wanted & given)), float(len(wanted)), float(len(given))


ENTITIES = (Metric("entity_f1", "Entity F1", "0 to 100", "higher", 1, COLUMNS, _entity_f1),)
