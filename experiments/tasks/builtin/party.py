"""The built-in task party: which party, Democratic or Republican, does a paragraph's president belong to?

No president is in two splits, so recognising the speaker does not help. The paragraphs may be in the
pretraining text, without labels and in the same way for all arms.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from experiments.data.sources.addresses import addresses
from experiments.data.sources.document import Document
from experiments.data.split import SPLITS, Split

LABELS = ("Democratic", "Republican")
SIZES: dict[Split, int] = {"train": 4000, "validation": 500, "test": 1000}  # half of each party
SHORTEST, LONGEST = 200, 800  # characters of a paragraph; longer ones are cut at a word


class Example(NamedTuple):
    """A paragraph, its label (an index into LABELS), and who said it."""

    text: str
    label: int
    president: str


@dataclass(frozen=True)
class PartyData:
    train: list[Example]
    validation: list[Example]
    test: list[Example]


@dataclass(frozen=True, eq=False)
class Baseline:
    """A baseline's accuracy on test. correct (n): 1 for each item it got right, else 0, in test's order."""

    accuracy: float
    correct: np.ndarray


def load() -> PartyData:
    """Returns the paragraphs of all Democratic and Republican presidents, always the same ones.

    Of each party's presidents in order of time, every fifth is in test and every fifth in validation, so each
    split spans the eras. Half of a split is of each party. Its presidents give paragraphs in turn, so none of
    them fills it.
    """
    by_party: dict[int, dict[str, set[str]]] = {label: defaultdict(set) for label in range(len(LABELS))}
    for address in addresses():
        if address.meta["party"] in LABELS:
            label = LABELS.index(address.meta["party"])
            by_party[label][address.meta["president"]].update(paragraphs(address))
    chosen: dict[Split, list[Example]] = {name: [] for name in SPLITS}
    for label, by_president in by_party.items():
        for name in SPLITS:
            turns = [
                [Example(text, label, president) for text in sorted(by_president[president], key=_hash)]
                for place, president in enumerate(by_president)
                if _split_of(place) == name
            ]
            chosen[name] += _in_turn(turns)[: SIZES[name] // len(LABELS)]
    return PartyData(
        **{
            name: sorted(examples, key=lambda example: _hash(example.text))
            for name, examples in chosen.items()
        }
    )


def paragraphs(document: Document) -> list[str]:
    """Returns the paragraphs of at least SHORTEST characters, cut to LONGEST at the end of a word."""
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", document.text))
    return [
        block if len(block) <= LONGEST else block[: LONGEST + 1].rsplit(" ", 1)[0]
        for block in blocks
        if len(block) >= SHORTEST
    ]


def baselines(data: PartyData) -> dict[str, Baseline]:
    """Returns the baselines, fitted on train.

    majority        train's more frequent label, which is right half of the time by construction
    tfidf_logistic  logistic regression on words and word pairs, at scikit-learn's defaults
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels = [example.label for example in data.train]
    truth = np.array([example.label for example in data.test])
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), LogisticRegression(max_iter=1000)
    )
    model.fit([example.text for example in data.train], labels)
    guesses = {
        "majority": np.full(len(truth), np.bincount(labels).argmax()),
        "tfidf_logistic": model.predict([example.text for example in data.test]),
    }
    return {name: _judge(guess == truth) for name, guess in guesses.items()}


def _judge(right: np.ndarray) -> Baseline:
    return Baseline(float(right.mean()), right.astype(np.int64))


def _split_of(place: int) -> Split:
    return {2: "test", 4: "validation"}.get(place % 5, "train")  # type: ignore[return-value]


def _in_turn(columns: Iterable[list[Example]]) -> list[Example]:
    """Returns the first of each column, then the second of each, ..., so that a cap takes alike of each."""
    return [example for example in chain.from_iterable(zip_longest(*columns)) if example is not None]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
