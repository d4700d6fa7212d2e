from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from experiments.data.sources.addresses import addresses
from experiments.data.sources.document import Document
from experiments.data.split import HEAD, split


def numbered(count: int) -> list[Document]:
    return [Document(f"text {number}", str(number)) for number in range(count)]


def sizes(count: int) -> tuple[int, int, int]:
    found = Counter(name for name, _ in split(numbered(count)))
    return found["train"], found["validation"], found["test"]


@pytest.mark.parametrize(
    ("count", "expected"), [(2, (2, 0, 0)), (3, (1, 1, 1)), (20, (18, 1, 1)), (60, (54, 3, 3))]
)
def test_small_corpora_get_exact_fractions(count: int, expected: tuple[int, int, int]) -> None:
    assert sizes(count) == expected


def test_a_long_stream_gets_nine_tenths_for_training() -> None:
    train, validation, test = sizes(20_000)
    assert train + validation + test == 20_000
    assert 850 < validation < 1150
    assert 850 < test < 1150


def test_a_stream_is_placed_in_one_pass_without_holding_it() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Document(f"text {taken}", str(taken))

    stream = split(endless())
    for _ in range(200):
        next(stream)
    assert taken <= 200 + HEAD


def test_a_document_added_at_the_end_moves_no_other() -> None:
    before = [name for name, _ in split(numbered(500))]
    after = [name for name, _ in split(numbered(501))]
    assert after[:500] == before


def test_exact_duplicates_never_stand_in_two_splits() -> None:
    copies = numbered(300) * 2
    random.Random(0).shuffle(copies)
    places = defaultdict(set)
    for name, document in split(copies):
        places[document.text].add(name)
    assert all(len(found) == 1 for found in places.values())


def test_addresses_are_split_by_document_with_every_era_in_every_split() -> None:
    placed = list(split(addresses()))
    eras = {document.meta["era"] for _, document in placed}
    assert len(placed) == len({document.id for _, document in placed}) == 249
    for name in ("train", "validation", "test"):
        assert {document.meta["era"] for found, document in placed if found == name} == eras
    counts = Counter(name for name, _ in placed)
    assert counts["train"] > 0.85 * 249


def test_one_president_s_addresses_of_one_year_stay_together() -> None:
    places = defaultdict(set)
    for name, document in split(addresses()):
        places[document.meta["group"]].add(name)
    assert all(len(found) == 1 for found in places.values())
